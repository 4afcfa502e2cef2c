//! What one core decrypts, beside OpenSSL.

use std::{process::Command, time::Duration};

use crate::{
    figures::{Figure, Goal, median, rate},
    run,
};

/// A sector cipher: its code in the FVE metadata, OpenSSL's name of it where it has one, and what is measured, at 512
/// and at 4096 bytes.
type Cipher = (&'static str, Option<&'static str>, [&'static str; 2]);

const CIPHERS: [Cipher; 6] = [
    ("0x8004", Some("aes-128-xts"), ["XTS-AES 128, sectors of 512", "XTS-AES 128, sectors of 4096"]),
    ("0x8005", Some("aes-256-xts"), ["XTS-AES 256, sectors of 512", "XTS-AES 256, sectors of 4096"]),
    ("0x8002", Some("aes-128-cbc"), ["AES 128, sectors of 512", "AES 128, sectors of 4096"]),
    ("0x8003", Some("aes-256-cbc"), ["AES 256, sectors of 512", "AES 256, sectors of 4096"]),
    ("0x8000", None, ["AES 128 with Diffuser, sectors of 512", "AES 128 with Diffuser, sectors of 4096"]),
    ("0x8001", None, ["AES 256 with Diffuser, sectors of 512", "AES 256 with Diffuser, sectors of 4096"]),
];

const SECTOR_SIZES: [&str; 2] = ["512", "4096"];

const GIB: u64 = 1 << 30;

/// What the diffuser must reach, in bytes per second; OpenSSL has nothing to compare it with.
const DIFFUSER: f64 = 1.5e9;

/// The ratio to OpenSSL that must be reached.
const BESIDE_OPENSSL: f64 = 0.95;

/// Measures every cipher, ours and OpenSSL's in turns, `passes` times.
pub(crate) fn figures(passes: usize) -> Result<Vec<Figure>, String> {
    let build = ["build", "--release", "--package", "undelfs-bitlocker", "--example", "cipher_speed"];
    run::run(&mut run::cargo(build))?;
    let program = run::built("release")?.join("examples/cipher_speed");
    let mut all: Vec<_> = CIPHERS
        .iter()
        .flat_map(|cipher| {
            SECTOR_SIZES.into_iter().zip(cipher.2).map(move |(size, what)| (cipher, size, what))
        })
        .map(|place| (place, Vec::new(), Vec::new()))
        .collect();
    for _ in 0..passes {
        let said = run::output(on_one_core()?.arg(&program))?;
        for ((cipher, size, _), ours, theirs) in &mut all {
            ours.push(duration(ours_of(&said, cipher.0, size)?));
            if let Some(name) = cipher.1 {
                theirs.push(duration(openssl(name, size)?));
            }
        }
    }
    let figure = |((cipher, _, what), ours, theirs): ((&Cipher, _, _), Vec<_>, Vec<_>)| {
        let (peer, theirs, bound) = match cipher.1 {
            Some(_) => ("OpenSSL", median(theirs), BESIDE_OPENSSL),
            None => ("bound", duration(DIFFUSER), 1.0),
        };
        Figure {
            what,
            ours: rate(GIB, median(ours)),
            peer,
            theirs: rate(GIB, theirs),
            goal: Goal::AtLeast(bound),
        }
    };
    Ok(all.into_iter().map(figure).collect())
}

/// The rate in a line of `cipher_speed`: code, sector size, bytes per second.
fn ours_of(said: &str, code: &str, size: &str) -> Result<f64, String> {
    said.lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find_map(|words| match words.as_slice() {
            [at, of, rate] if (*at, *of) == (code, size) => rate.parse().ok(),
            _ => None,
        })
        .ok_or_else(|| format!("cipher_speed gave no rate of {code} with sectors of {size} bytes"))
}

/// What `openssl speed` decrypts, in bytes per second.
pub(crate) fn openssl(name: &str, size: &str) -> Result<f64, String> {
    let mut command = on_one_core()?;
    // Old ciphers have moved into a provider of their own.
    command.args([
        "openssl",
        "speed",
        "-provider",
        "legacy",
        "-provider",
        "default",
        "-mr",
        "-seconds",
        "1",
        "-bytes",
        size,
        "-decrypt",
        "-evp",
        name,
    ]);
    openssl_rate(&run::output(&mut command)?).ok_or_else(|| format!("{} gave no rate", run::shown(&command)))
}

/// The rate in the line `+F:NUMBER:NAME:RATE` of its machine-readable output.
fn openssl_rate(said: &str) -> Option<f64> {
    said.lines().find(|line| line.starts_with("+F:"))?.rsplit(':').next()?.trim().parse().ok()
}

/// A command that runs what its arguments name on the last core alone.
pub(crate) fn on_one_core() -> Result<Command, String> {
    let cores = std::thread::available_parallelism().map_err(|error| error.to_string())?;
    Ok(run::command("taskset", ["-c".to_owned(), (cores.get() - 1).to_string()]))
}

/// How long a GiB takes at `rate` bytes per second.
pub(crate) fn duration(rate: f64) -> Duration {
    Duration::try_from_secs_f64(GIB as f64 / rate).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Value;

    #[test]
    fn rates_are_read_from_what_the_programs_say() {
        let said = "0x8004 512 9020000000\n0x8004 4096 10220000000\n";
        assert_eq!(ours_of(said, "0x8004", "4096"), Ok(10_220_000_000.0));
        assert!(ours_of(said, "0x8005", "512").is_err());
        assert_eq!(openssl_rate("+H:512\n+F:22:AES-128-XTS:5657554080.00\n"), Some(5_657_554_080.0));
        assert_eq!(openssl_rate("+H:512\n"), None);
    }

    #[test]
    fn a_rate_survives_as_the_time_of_a_gib() {
        let Value::Rate(mib) = rate(GIB, duration(DIFFUSER)) else { panic!("no rate") };
        assert!((mib * f64::from(1 << 20) - DIFFUSER).abs() < 1.0, "{mib} MiB/s");
    }
}
