//! Damage to made volumes.

use std::{fs, os::unix::fs::FileExt};

use super::{
    Made,
    datum::{self, role},
    metadata, space,
};

/// Which checks of an edited metadata block are made right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// None: the CRC-32 tells that something is wrong.
    Broken,
    /// The CRC-32 alone: the boxed hash tells, to who has a key.
    Crc,
    /// All: only what the block says is wrong.
    Whole,
}

/// What an outdated metadata block has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The encryption key in it, which is not the volume's.
    pub fvek: Vec<u8>,
    /// Its counter of nonces, which is lower than that of the others.
    pub nonce_counter: u32,
}

impl Made {
    /// Overwrites the boot sector, and all that stands before the first sector that is in use.
    pub fn destroy_boot_sector(&self) {
        self.open().write_all_at(&vec![0xDB; self.sector as usize], 0).expect("the boot sector");
    }

    /// Changes the first 512 bytes of the volume.
    pub fn edit_boot_sector(&self, edit: impl FnOnce(&mut [u8])) {
        let (file, mut boot) = (self.open(), vec![0; 512]);
        file.read_exact_at(&mut boot, 0).expect("the boot sector");
        edit(&mut boot);
        file.write_all_at(&boot, 0).expect("the boot sector");
    }

    /// Changes the metadata block of index 0 to 2 and makes its checks right again as far as `seal` says. The bytes
    /// are those from the block's signature to the end of its check; the checks keep their place and cover as much
    /// as before, whatever sizes the block then says it has.
    pub fn edit_block(&self, index: usize, seal: Seal, edit: impl FnOnce(&mut [u8])) {
        let (file, mut block) = (self.open(), self.block());
        let size = metadata::size(&block);
        let sealed = block.len();
        file.read_exact_at(&mut block, self.metadata[index]).expect("the metadata block");
        edit(&mut block);
        let vmk = if self.decrypted { None } else { Some(&self.vmk) };
        match seal {
            Seal::Broken => {}
            Seal::Crc => metadata::reseal(&mut block, size, None),
            Seal::Whole => metadata::reseal(&mut block, size, vmk),
        }
        assert_eq!(block.len(), sealed);
        file.write_all_at(&block, self.metadata[index]).expect("the metadata block");
    }

    /// Spoils the CRC-32 of a metadata block.
    pub fn spoil_crc(&self, index: usize) {
        let at = metadata::size(&self.block()) + 4;
        self.edit_block(index, Seal::Broken, |block| block[at] ^= 1);
    }

    /// Overwrites all of the place of a metadata block.
    pub fn destroy_block(&self, index: usize) {
        self.open()
            .write_all_at(&vec![0xDB; self.metadata_size as usize], self.metadata[index])
            .expect("the metadata block");
    }

    /// Replaces a metadata block by one from before: sound by all its checks, with the same protectors, but with a
    /// lower counter and another encryption key.
    pub fn make_stale(&self, index: usize) -> Stale {
        let fvek: Vec<u8> = self.fvek.iter().map(|byte| !byte).collect();
        let mut old = self.information.clone();
        let key = datum::key(old.method, &fvek);
        let mut at = 0;
        while space::number(&old.datums, at + 2, 2) != u64::from(role::FVEK) {
            at += space::number(&old.datums, at, 2) as usize;
        }
        let nonce = old.datums[at + 8..at + 20].try_into().expect("the nonce");
        let boxed = datum::boxed(role::FVEK, &self.vmk, nonce, &key);
        old.datums[at..at + boxed.len()].copy_from_slice(&boxed);
        let mut nonces = self.nonces.clone();
        nonces.counter -= 1;
        let block = old.block(Some(&self.vmk), &mut nonces);
        self.open().write_all_at(&block, self.metadata[index]).expect("the metadata block");
        Stale { fvek, nonce_counter: nonces.counter }
    }

    fn open(&self) -> fs::File {
        fs::File::options().read(true).write(true).open(&self.image).expect("the volume")
    }
}
