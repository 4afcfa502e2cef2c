//! Makes the benchmarks' BitLocker volume: a fixed disk of Windows 10, fully encrypted with XTS-AES 128.
//!
//! Usage: `make_bitlocker PLAIN IMAGE PASSWORD` encrypts the volume `PLAIN` into `IMAGE`. `cargo xtask bench` runs it.

use std::path::Path;

use undelfs_tests::bitlocker::{Maker, Method, Protector};

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [plain, image, password] = &args[..] else {
        return Err("usage: make_bitlocker PLAIN IMAGE PASSWORD".into());
    };
    let protector = Protector::Password(password.clone());
    Maker::new(Method::Xts128, &[protector]).make(Path::new(plain), Path::new(image));
    Ok(())
}
