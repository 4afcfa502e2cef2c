//! A volume that was made, and what it has to read as.

use std::{fs, ops::Range, os::unix::fs::FileExt};

use super::{
    Cipher, Guid, MadeProtector, Method, Path, PathBuf, Protector, STEP,
    datum::{self, Nonces},
    metadata::Information,
    read, space, write_sparsely,
};

/// A made volume: all its secrets, and where its structures are.
#[derive(Debug, Clone)]
pub struct Made {
    /// The BitLocker volume.
    pub image: PathBuf,
    /// The plain volume that it was made of.
    pub plain: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Sector size in bytes.
    pub sector: u32,
    /// How sectors are encrypted.
    pub method: Method,
    /// The volume's identifier.
    pub volume: Guid,
    /// The volume master key.
    pub vmk: [u8; 32],
    /// The full volume encryption key.
    pub fvek: Vec<u8>,
    /// The protectors, in the order in which they were asked for.
    pub protectors: Vec<MadeProtector>,
    /// Bytes at which the metadata blocks begin.
    pub metadata: [u64; 3],
    /// Size of the place of each of them in bytes.
    pub metadata_size: u64,
    /// Bytes to which the first sectors of the plain volume went; none on Windows Vista.
    pub relocated: Range<u64>,
    /// Bytes that read as zeros, in order: metadata, relocated sectors, and structures of a conversion.
    pub zeroed: Vec<Range<u64>>,
    /// Bytes that are not encrypted, in order.
    pub stays_plain: Vec<Range<u64>>,
    pub(super) used_space_only: bool,
    pub(super) decrypted: bool,
    pub(super) information: Information,
    pub(super) nonces: Nonces,
}

impl Made {
    /// The first protector that `is` what is looked for.
    ///
    /// # Panics
    /// When there is none.
    pub fn protector(&self, is: impl Fn(&Protector) -> bool) -> &MadeProtector {
        self.protectors.iter().find(|made| is(&made.protector)).expect("such a protector")
    }

    /// Writes the `.BEK` file of the first startup key into `dir`, under the name that Windows gives it.
    pub fn write_bek(&self, dir: &Path) -> PathBuf {
        let made = self.protector(|protector| *protector == Protector::StartupKey);
        let path = dir.join(made.bek_name());
        fs::write(&path, made.bek.as_ref().expect("its bytes")).expect("the .BEK file");
        path
    }

    /// The clusters of a volume of which only the used space was encrypted that never were.
    pub fn never_encrypted(&self) -> &[Range<u64>] {
        if self.used_space_only { &self.stays_plain } else { &[] }
    }

    /// A key package for a recovery password or startup key: the volume's dataset with no more than the datums of
    /// that protector and of the encryption key, both boxed.
    ///
    /// No public source describes the format that Windows exports, only that it holds these two.
    pub fn key_package(&self, protector: &MadeProtector) -> Vec<u8> {
        let datums = [protector.datum.clone(), self.boxed_fvek()].concat();
        let information = &self.information;
        datum::dataset(self.volume, self.nonces.counter, information.method, information.time, &datums)
    }

    /// Compares what another program `presents` as the decrypted volume with what Windows presents, but for the
    /// bytes of `except`.
    ///
    /// # Panics
    /// When they differ.
    pub fn compare(&self, presents: &Path, except: &[Range<u64>]) {
        self.compare_within(presents, 0..self.size, except);
    }

    /// The same for a part of the volume; the other program may present no more than that.
    ///
    /// # Panics
    /// When they differ.
    pub fn compare_within(&self, presents: &Path, part: Range<u64>, except: &[Range<u64>]) {
        let file = fs::File::open(presents).unwrap_or_else(|error| panic!("{}: {error}", presents.display()));
        let cipher = self.cipher();
        let (mut expected, mut found) = (vec![0; STEP], vec![0; STEP]);
        for offset in part.clone().step_by(STEP) {
            let len = STEP.min((part.end - offset) as usize);
            self.read_expected(&*cipher, &mut expected[..len], offset);
            file.read_exact_at(&mut found[..len], offset)
                .unwrap_or_else(|error| panic!("{} at byte {offset}: {error}", presents.display()));
            for range in except {
                blank(&mut expected[..len], offset, range);
                blank(&mut found[..len], offset, range);
            }
            if let Some(at) = (0..len).find(|at| expected[*at] != found[*at]) {
                panic!(
                    "{} differs from byte {:#x} on: {:02x?}, expected {:02x?}\n{self:#x?}",
                    presents.display(),
                    offset + at as u64,
                    &found[at..len.min(at + 16)],
                    &expected[at..len.min(at + 16)],
                );
            }
        }
    }

    /// Writes the volume as Windows presents it into a sparse file: the plain one, with zeros where BitLocker's own
    /// structures are. Clusters that were never encrypted are decrypted all the same.
    pub fn write_expected(&self, to: &Path) {
        let file = fs::File::create(to).expect("the expected volume");
        file.set_len(self.size).expect("its size");
        let cipher = self.cipher();
        let mut bytes = vec![0; STEP];
        for offset in (0..self.size).step_by(STEP) {
            bytes.truncate((self.size - offset) as usize);
            self.read_expected(&*cipher, &mut bytes, offset);
            write_sparsely(&file, &bytes, offset);
        }
    }

    /// Encrypts what stands at byte `offset` of the volume, as far as it is encrypted there.
    pub(super) fn encrypt(&self, bytes: &mut [u8], offset: u64) {
        let end = offset + bytes.len() as u64;
        let mut encrypted = space::one(offset..end);
        for plain in self.stays_plain.iter().filter(|plain| plain.start < end && offset < plain.end) {
            encrypted = space::without(&encrypted, plain);
        }
        let cipher = self.cipher();
        for range in encrypted {
            cipher.encrypt(within(bytes, offset, &range), range.start);
        }
    }

    /// The bytes of a metadata block, up to the end of its check.
    pub(super) fn block(&self) -> Vec<u8> {
        let vmk = if self.decrypted { None } else { Some(&self.vmk) };
        self.information.block(vmk, &mut self.nonces.clone())
    }

    fn boxed_fvek(&self) -> Vec<u8> {
        let mut at = 0;
        loop {
            let datum = &self.information.datums[at..];
            let size = space::number(datum, 0, 2) as usize;
            if space::number(datum, 2, 2) == u64::from(datum::role::FVEK) {
                return datum[..size].to_vec();
            }
            at += size;
        }
    }

    fn cipher(&self) -> Box<dyn Cipher> {
        self.method.cipher(&self.fvek, self.sector as usize)
    }

    fn read_expected(&self, cipher: &dyn Cipher, bytes: &mut [u8], offset: u64) {
        read(&self.plain, bytes, offset);
        for range in self.never_encrypted() {
            if range.start < offset + bytes.len() as u64 && offset < range.end {
                let start = range.start.max(offset);
                cipher.decrypt(within(bytes, offset, range), start);
            }
        }
        self.zeroed.iter().for_each(|range| blank(bytes, offset, range));
    }
}

/// The part of `bytes`, which stand at `offset`, that is in `range`.
fn within<'a>(bytes: &'a mut [u8], offset: u64, range: &Range<u64>) -> &'a mut [u8] {
    let end = offset + bytes.len() as u64;
    let (start, end) = (range.start.clamp(offset, end), range.end.clamp(offset, end));
    &mut bytes[(start - offset) as usize..(end - offset) as usize]
}

fn blank(bytes: &mut [u8], offset: u64, range: &Range<u64>) {
    within(bytes, offset, range).fill(0);
}

#[cfg(test)]
mod tests {
    use aes::Aes256;
    use ccm::{
        Ccm, KeyInit,
        aead::AeadInOut,
        consts::{U12, U16},
    };

    use super::*;
    use crate::{
        bitlocker::{Maker, keys, recovery_password},
        guard,
    };

    /// The key in the box at the begin of `datum`.
    fn unboxed(datum: &[u8], key: &[u8; 32]) -> Vec<u8> {
        let size = space::number(datum, 0, 2) as usize;
        let (nonce, tag): ([u8; 12], [u8; 16]) =
            (datum[8..20].try_into().unwrap(), datum[20..36].try_into().unwrap());
        let mut content = datum[36..size].to_vec();
        Ccm::<Aes256, U16, U12>::new(key.into())
            .decrypt_inout_detached(&nonce.into(), &[], content.as_mut_slice().into(), &tag.into())
            .expect("the right key");
        content.split_off(12)
    }

    #[test]
    fn a_key_package_and_its_recovery_password_are_enough_for_the_encryption_key() {
        let (dir, password) = (guard::scratch(), recovery_password(3));
        let plain = dir.path().join("plain");
        fs::File::create(&plain).unwrap().set_len(4 << 20).unwrap();
        let maker = Maker::new(Method::Xts256, &[Protector::RecoveryPassword(password.clone())]);
        let made = maker.make(&plain, &dir.path().join("volume"));
        let package = made.key_package(&made.protectors[0]);
        assert_eq!(package.len() as u64, space::number(&package, 0, 4));
        assert_eq!(package[16..32], made.volume.0);
        let protector = &package[48..];
        assert_eq!(protector[8..24], made.protectors[0].id.0);
        let stretched = &protector[36..];
        let salt = stretched[12..28].try_into().unwrap();
        let key = keys::stretch(&keys::of_recovery_key(&keys::of_recovery_password(&password)), &salt);
        let vmk = unboxed(&stretched[space::number(stretched, 0, 2) as usize..], &key);
        assert_eq!(vmk, made.vmk);
        let fvek = &protector[space::number(protector, 0, 2) as usize..];
        assert_eq!(unboxed(fvek, &vmk.try_into().unwrap()), made.fvek);
    }
}
