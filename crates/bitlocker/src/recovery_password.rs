use sha2::{Digest, Sha256};
use undelfs_source::ErrorKind;
use undelfs_volume::Error;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Groups of a recovery password.
const GROUPS: usize = 8;
/// Digits of a group.
const DIGITS: usize = 6;

/// A recovery password: eight groups of six digits. Each group is a multiple of 11 below 720,896, so that
/// a mistyped digit shows.
#[derive(Debug, Clone)]
pub struct RecoveryPassword(Secret);

impl RecoveryPassword {
    /// Reads a recovery password as it is printed or typed: groups with hyphens or blanks between them, or 48 digits.
    ///
    /// # Errors
    /// Says which group is mistyped, without showing any.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Refused { kind: ErrorKind::KeyNeeded, reason };
        let groups = Zeroizing::new(groups(text));
        if groups.len() != GROUPS {
            return Err(wrong(format!(
                "a recovery password has 8 groups of 6 digits; this one has {} group{}",
                groups.len(),
                if groups.len() == 1 { "" } else { "s" }
            )));
        }
        let mut key = Zeroizing::new(Vec::with_capacity(2 * GROUPS));
        for (number, group) in (1..).zip(groups.iter()) {
            let bad =
                |why: &str| wrong(format!("group {number} of the recovery password is mistyped: {why}"));
            if group.len() != DIGITS || !group.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(bad("it is not six digits"));
            }
            let value: u32 = group.parse().map_err(|_| bad("it is no number"))?;
            if !value.is_multiple_of(11) {
                return Err(bad("a digit is wrong or two are swapped"));
            }
            let value = u16::try_from(value / 11).map_err(|_| bad("it is above 720885"))?;
            key.extend(value.to_le_bytes());
        }
        Ok(Self(Secret::copy(&key)))
    }

    /// What is stretched.
    pub(crate) fn hash(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(Sha256::digest(self.0.expose()).into())
    }
}

fn groups(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.len() == GROUPS * DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = text.as_bytes().chunks(DIGITS);
        return digits.map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    }
    let is_hyphen = |c: char| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    let groups = text.split(|c: char| c.is_whitespace() || is_hyphen(c));
    groups.filter(|group| !group.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "235818-357951-253979-013365-241120-245575-342914-591910";

    fn error(text: &str) -> String {
        RecoveryPassword::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn hyphens_blanks_or_nothing_may_stand_between_the_groups() {
        let key = RecoveryPassword::parse(GOOD).unwrap().hash();
        for text in
            [GOOD.replace('-', " "), GOOD.replace('-', ""), GOOD.replace('-', " – "), format!(" {GOOD}\r\n")]
        {
            assert_eq!(RecoveryPassword::parse(&text).unwrap().hash(), key, "{text:?}");
        }
    }

    #[test]
    fn the_mistyped_group_is_named_and_not_shown() {
        assert!(error(&GOOD.replace("253979", "253978")).contains("group 3 of"));
        assert!(error(&GOOD.replace("591910", "519910")).contains("group 8 of"));
        assert!(error(&GOOD.replace("235818", "23581O")).contains("group 1 of"));
        assert!(error(&GOOD.replace("235818", "720896")).contains("group 1 of"));
        assert!(error(&GOOD[7..]).contains("has 7 groups"));
        assert!(!error(&GOOD.replace("253979", "253978")).contains("253978"));
    }

    #[test]
    fn every_wrong_digit_and_every_swap_of_neighbours_is_noticed() {
        for at in 0..GOOD.len() {
            let mut changed = GOOD.as_bytes().to_vec();
            if changed[at] == b'-' {
                continue;
            }
            changed[at] = b'0' + (changed[at] - b'0' + 1) % 10;
            assert!(RecoveryPassword::parse(std::str::from_utf8(&changed).unwrap()).is_err(), "digit {at}");
            let mut swapped = GOOD.as_bytes().to_vec();
            if at % 7 < 5 && swapped[at] != swapped[at + 1] {
                swapped.swap(at, at + 1);
                assert!(
                    RecoveryPassword::parse(std::str::from_utf8(&swapped).unwrap()).is_err(),
                    "swap {at}"
                );
            }
        }
    }
}
