//! Whom root works for, where sudo was used.

use rustix::process::geteuid;

/// The user and group that called sudo, where this process is root and was entered that way.
pub(crate) fn caller() -> Option<(u32, u32)> {
    geteuid().is_root().then(|| named_by(|name| std::env::var(name).ok())).flatten()
}

fn named_by(variable: impl Fn(&str) -> Option<String>) -> Option<(u32, u32)> {
    // The number of all ones means no user at all.
    let number = |name| variable(name)?.parse().ok().filter(|number: &u32| *number != u32::MAX);
    let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
    (uid != 0).then_some((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_known_only_by_both_numbers_and_is_not_root() {
        let of = |uid: &'static str, gid: Option<&'static str>| {
            named_by(|name| if name == "SUDO_UID" { Some(uid.to_owned()) } else { gid.map(str::to_owned) })
        };
        assert_eq!(of("1000", Some("100")), Some((1000, 100)));
        for nobody in [of("0", Some("0")), of("1000", None), of("x", Some("1")), of("4294967295", Some("1"))]
        {
            assert_eq!(nobody, None);
        }
    }
}
