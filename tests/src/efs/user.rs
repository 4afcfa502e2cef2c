//! Users with a certificate of EFS.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::openssl;
use crate::tools;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Decrypting a user's own files.
    User,
    /// Recovering those of others.
    Recovery,
}

impl Purpose {
    /// Its object identifier among the extended key usages.
    fn oid(self) -> &'static str {
        match self {
            Self::User => "1.3.6.1.4.1.311.10.3.4",
            Self::Recovery => "1.3.6.1.4.1.311.10.3.4.1",
        }
    }
}

/// A user with a key, made by OpenSSL.
#[derive(Debug)]
pub struct User {
    /// Name.
    pub name: String,
    /// The private key, PEM.
    pub key: PathBuf,
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Both, PKCS#12 with [`PASSWORD`](Self::PASSWORD), as Windows before 10 protected it.
    pub pfx: PathBuf,
    /// SHA-1 of the certificate.
    pub thumbprint: [u8; 20],
}

impl User {
    /// The password of every PKCS#12 file here.
    pub const PASSWORD: &'static str = "a secret";

    /// S-1-5-21-1-2-3-1001.
    pub const SID: [u8; 28] =
        [1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0xE9, 3, 0, 0];

    /// Makes a user's key and certificate in `dir`.
    pub fn new(dir: &Path, name: &str, purpose: Purpose) -> Self {
        let file = |extension: &str| dir.join(name).with_extension(extension);
        let (key, certificate, pfx) = (file("key.pem"), file("pem"), file("pfx"));
        // ntfsdecrypt cuts the last character off an identifier before it compares it: the second one is for it.
        let usage = format!("extendedKeyUsage={0},{0}0", purpose.oid());
        tools::succeed(
            openssl(&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-addext", &usage])
                .args(["-subj", &format!("/CN={name}")])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        );
        let der = tools::succeed(openssl(&["x509", "-outform", "DER", "-in"]).arg(&certificate)).stdout;
        let der_file = file("der");
        fs::write(&der_file, &der).expect("the certificate");
        let hash = tools::succeed(openssl(&["dgst", "-sha1", "-binary"]).arg(&der_file)).stdout;
        let user = Self {
            name: name.to_owned(),
            key,
            certificate,
            pfx: pfx.clone(),
            thumbprint: hash.try_into().expect("a SHA-1"),
        };
        user.pkcs12(&pfx, &["-legacy"]);
        user
    }

    /// Writes key and certificate as PKCS#12, with further options of `openssl pkcs12`.
    pub fn pkcs12(&self, to: &Path, options: &[&str]) {
        self.pkcs12_with(to, Self::PASSWORD, options);
    }

    /// The same with another password.
    pub fn pkcs12_with(&self, to: &Path, password: &str, options: &[&str]) {
        tools::succeed(
            openssl(&["pkcs12", "-export", "-passout", &format!("pass:{password}")])
                .args(options)
                .arg("-inkey")
                .arg(&self.key)
                .arg("-in")
                .arg(&self.certificate)
                .arg("-out")
                .arg(to),
        );
    }

    /// The name that Windows shows.
    pub fn display(&self) -> String {
        format!("{0}({0}@HOST)", self.name)
    }

    /// The thumbprint in hexadecimal digits.
    pub fn thumbprint(&self) -> String {
        crate::content::hex(&self.thumbprint)
    }

    /// Encrypts for the user, the last byte first.
    pub(super) fn wrap(&self, plain: &[u8]) -> Vec<u8> {
        let dir = crate::guard::scratch();
        let file = dir.path().join("plain");
        fs::write(&file, plain).expect("what is wrapped");
        let encrypt = ["pkeyutl", "-encrypt", "-certin", "-pkeyopt", "rsa_padding_mode:pkcs1", "-inkey"];
        let mut wrapped =
            tools::succeed(openssl(&encrypt).arg(&self.certificate).arg("-in").arg(&file)).stdout;
        wrapped.reverse();
        wrapped
    }
}
