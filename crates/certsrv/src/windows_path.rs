//! Paths as Windows writes them.

/// The last name of a path with either slash.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

/// `C:\folder` on `server` as everybody in the network sees it, `\\server\C$\folder`. What is no path on a drive stays.
pub(crate) fn unc(server: &str, path: &str) -> String {
    match path.split_once(':') {
        Some((drive, rest)) if drive.len() == 1 && rest.starts_with('\\') => {
            format!(r"\\{server}\{}${rest}", drive.to_ascii_uppercase())
        }
        _ => path.to_owned(),
    }
}

/// The names of a path behind its drive or share.
pub(crate) fn below_drive(path: &str) -> Vec<&str> {
    let rest = match path.strip_prefix(r"\\") {
        Some(rest) => rest.splitn(3, '\\').nth(2).unwrap_or(""),
        None => path.split_once(':').map_or(path, |(_, rest)| rest),
    };
    rest.split(['\\', '/']).filter(|name| !name.is_empty()).collect()
}

/// `%SystemRoot%` and `%windir%` as what nearly every Windows has for them.
pub(crate) fn expand(path: &str) -> String {
    for variable in ["%SystemRoot%", "%windir%"] {
        if let Some(rest) = path.get(variable.len()..).filter(|_| starts_with(path, variable)) {
            return format!(r"C:\Windows{rest}");
        }
    }
    path.to_owned()
}

fn starts_with(path: &str, start: &str) -> bool {
    path.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_on_a_drive_is_one_on_the_share_of_the_drive() {
        assert_eq!(unc("CA1", r"c:\Windows\CA.edb"), r"\\CA1\C$\Windows\CA.edb");
        assert_eq!(unc("CA1", r"\\x\y\z"), r"\\x\y\z");
        assert_eq!(below_drive(r"\\CA1\C$\Windows\CertLog"), ["Windows", "CertLog"]);
        assert_eq!(below_drive(r"D:\Logs\"), ["Logs"]);
        assert_eq!(expand(r"%systemroot%\System32\CertLog"), r"C:\Windows\System32\CertLog");
        assert_eq!(file_name(r"a\b/c.edb"), "c.edb");
    }
}
