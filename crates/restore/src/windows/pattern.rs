//! Patterns of directory queries (MS-FSA 2.1.4.4).
//!
//! `*` and `?` are what they seem. Win32 turns a part of them into three more, so that patterns of DOS mean what they
//! meant there: `<` is a `*` that stops at the last dot, `>` is a `?` that a dot or the end also matches, and `"` is a
//! dot that the end also matches.

/// Whether `name` matches `pattern`. Both have one case already.
///
/// Takes time in proportion to the product of the lengths, whatever the pattern.
pub fn matches(pattern: &[u16], name: &[u16]) -> bool {
    const STAR: u16 = b'*' as u16;
    const ONE: u16 = b'?' as u16;
    const DOS_STAR: u16 = b'<' as u16;
    const DOS_ONE: u16 = b'>' as u16;
    const DOS_DOT: u16 = b'"' as u16;
    const DOT: u16 = b'.' as u16;

    let last_dot = name.iter().rposition(|unit| *unit == DOT);
    // Whether the pattern so far matches the first `n` units, for every `n`.
    let mut now = vec![false; name.len() + 1];
    if let Some(start) = now.first_mut() {
        *start = true;
    }
    for symbol in pattern.iter().copied() {
        let mut next = vec![false; now.len()];
        let mut set = |at: usize| {
            if let Some(flag) = next.get_mut(at) {
                *flag = true;
            }
        };
        let reached = now.iter().enumerate().filter(|(_, reached)| **reached).map(|(at, _)| at);
        match symbol {
            STAR => (reached.min().unwrap_or(usize::MAX)..=name.len()).for_each(set),
            DOS_STAR => {
                for at in reached {
                    // Up to the last dot and with it, or to the end where no dot follows.
                    let end = last_dot.filter(|dot| *dot >= at).map_or(name.len(), |dot| dot);
                    (at..=end).for_each(&mut set);
                    if last_dot == Some(end) {
                        set(end + 1);
                    }
                }
            }
            ONE => reached.filter(|at| *at < name.len()).for_each(|at| set(at + 1)),
            DOS_ONE => {
                for at in reached {
                    match name.get(at) {
                        None | Some(&DOT) => set(at),
                        Some(_) => set(at + 1),
                    }
                }
            }
            DOS_DOT => {
                for at in reached {
                    match name.get(at) {
                        None => set(at),
                        Some(&DOT) => set(at + 1),
                        Some(_) => {}
                    }
                }
            }
            unit => reached.filter(|at| name.get(*at) == Some(&unit)).for_each(|at| set(at + 1)),
        }
        now = next;
    }
    now.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matched(pattern: &str, name: &str) -> bool {
        let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
        matches(&units(pattern), &units(name))
    }

    #[test]
    fn stars_and_question_marks_are_what_they_seem() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("*.TXT", "A.TXT", true),
            ("*.TXT", "A.TXT.BAK", false),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("*A*B*", "XXAYYBZZ", true),
            ("*A*B*", "XXBYYAZZ", false),
            ("", "", true),
            ("", "A", false),
            ("ABC", "ABC", true),
        ] {
            assert_eq!(matched(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_of_dos_mean_what_they_meant() {
        // `dir *.` asks for `<"`, `dir ?????.txt` for `>>>>>.txt`, `dir a*.*` for `a*`.
        for (pattern, name, expected) in [
            ("<\"", "README", true),
            ("<\"", "README.TXT", false),
            ("<.TXT", "A.B.TXT", true),
            ("<\"TXT", "A.TXT", true),
            (">>>>>.TXT", "AB.TXT", true),
            (">>>>>.TXT", "ABCDEF.TXT", false),
            ("A\"", "A", true),
            ("A\"", "A.", true),
            ("A\"", "AB", false),
        ] {
            assert_eq!(matched(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_of_stars_and_question_marks_matches_as_a_plain_search_does(
            pattern in "[*?AB.]{0,8}", name in "[AB.]{0,10}"
        ) {
            fn plain(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.split_first(), name.split_first()) {
                    (None, _) => name.is_empty(),
                    (Some((b'*', rest)), _) => (0..=name.len()).any(|at| plain(rest, &name[at..])),
                    (Some((b'?', rest)), Some((_, after))) => plain(rest, after),
                    (Some((one, rest)), Some((other, after))) => one == other && plain(rest, after),
                    (Some(_), None) => false,
                }
            }
            prop_assert_eq!(matched(&pattern, &name), plain(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn no_pattern_takes_long(pattern in "[*<>\"?A]{0,60}", name in "[A.]{0,255}") {
            let start = std::time::Instant::now();
            matched(&pattern, &name);
            prop_assert!(start.elapsed().as_secs() < 1);
        }
    }
}
