use std::iter;

use ::cbc::{Decryptor, cipher::BlockModeDecrypt};
use aes::{
    Block,
    cipher::{Array, BlockCipherEncrypt, KeyInit, KeyIvInit},
};
use proptest::prelude::*;
use xts_mode::{Xts128, get_tweak_default};

use super::*;

/// `sectors` of `size` bytes as the crates `cbc` and `xts-mode` decrypt them.
fn reference(method: Method, key: &[u8], sectors: &mut [u8], size: usize, offset: u64) {
    fn cbc<C>(key: &[u8], sectors: &mut [u8], size: usize, offset: u64)
    where
        C: KeyInit
            + BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>
            + aes::cipher::BlockCipherDecrypt,
    {
        for (sector, offset) in sectors.chunks_mut(size).zip((offset..).step_by(size)) {
            let mut iv = Block::from(u128::from(offset).to_le_bytes());
            C::new_from_slice(key).unwrap().encrypt_block(&mut iv);
            let (blocks, _) = Array::slice_as_chunks_mut(sector);
            Decryptor::<C>::new_from_slices(key, &iv).unwrap().decrypt_blocks(blocks);
        }
    }
    let number = u128::from(offset / size as u64);
    let (first, second) = key.split_at(key.len() / 2);
    match method {
        Method::Aes128Cbc => cbc::<Aes128>(key, sectors, size, offset),
        Method::Aes256Cbc => cbc::<Aes256>(key, sectors, size, offset),
        Method::Aes128Xts => {
            let [data, tweak] = [first, second].map(|key| Aes128::new_from_slice(key).unwrap());
            Xts128::new(data, tweak).decrypt_area(sectors, size, number, get_tweak_default);
        }
        Method::Aes256Xts => {
            let [data, tweak] = [first, second].map(|key| Aes256::new_from_slice(key).unwrap());
            Xts128::new(data, tweak).decrypt_area(sectors, size, number, get_tweak_default);
        }
        Method::Aes128CbcElephant | Method::Aes256CbcElephant => unreachable!("encrypted by `elephant`"),
    }
}

/// One sector encrypted with the diffuser: word by word and block by block, as the paper has it.
fn elephant<C: KeyInit + BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>>(
    key: &[u8],
    sector: &[u8],
    offset: u64,
) -> Vec<u8> {
    let [fvek, tweak] = [&key[..32], &key[32..]].map(|key| C::new_from_slice(&key[..C::key_size()]).unwrap());
    let encrypt = |cipher: &C, bytes: &[u8]| {
        let mut block = Block::try_from(bytes).unwrap();
        cipher.encrypt_block(&mut block);
        block.0
    };
    let mut number = [0; 16];
    number[..8].copy_from_slice(&offset.to_le_bytes());
    let iv = encrypt(&fvek, &number);
    let mut sector_key = encrypt(&tweak, &number).to_vec();
    number[15] = 128;
    sector_key.extend(encrypt(&tweak, &number));

    let keyed: Vec<u8> = sector.iter().zip(sector_key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let mut d: Vec<u32> =
        keyed.chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect();
    let n = d.len();
    for i in iter::repeat_n((0..n).rev(), 5).flatten() {
        let taken = d[(i + n - 2) % n] ^ d[(i + n - 5) % n].rotate_left([9, 0, 13, 0][i % 4]);
        d[i] = d[i].wrapping_sub(taken);
    }
    for i in iter::repeat_n((0..n).rev(), 3).flatten() {
        let taken = d[(i + 2) % n] ^ d[(i + 5) % n].rotate_left([0, 10, 0, 25][i % 4]);
        d[i] = d[i].wrapping_sub(taken);
    }

    let diffused: Vec<u8> = d.into_iter().flat_map(u32::to_le_bytes).collect();
    let mut before = iv;
    let mut encrypted = Vec::new();
    for block in diffused.chunks(16) {
        let chained: Vec<u8> = block.iter().zip(before).map(|(byte, before)| byte ^ before).collect();
        before = encrypt(&fvek, &chained);
        encrypted.extend(before);
    }
    encrypted
}

/// A cipher for each kind of vector instructions that this CPU has.
fn ciphers(method: Method, key: &[u8]) -> impl Iterator<Item = SectorCipher> {
    let best = Level::new();
    let mut levels = vec![best, Level::baseline()];
    #[cfg(target_arch = "x86_64")]
    levels.extend(best.as_sse4_2().map(Level::Sse4_2).into_iter().chain(best.as_avx2().map(Level::Avx2)));
    levels.into_iter().map(move |level| SectorCipher { level, ..SectorCipher::new(method, key).unwrap() })
}

fn sizes() -> impl Strategy<Value = usize> {
    (9_u32..=12).prop_map(|power| 1 << power)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cbc_and_xts_decrypt_as_the_reference_crates_do(
        key in prop::array::uniform::<_, 64>(any::<u8>()),
        seed in any::<u64>(),
        size in sizes(),
        count in 0_usize..70,
        first in 0_u64..1 << 50,
    ) {
        for method in [Method::Aes128Cbc, Method::Aes256Cbc, Method::Aes128Xts, Method::Aes256Xts] {
            let key = &key[..method.key_len()];
            let encrypted = noise(seed, count * size);
            let offset = first * size as u64;
            let mut expected = encrypted.clone();
            reference(method, key, &mut expected, size, offset);
            for cipher in ciphers(method, key) {
                let mut sectors = encrypted.clone();
                cipher.decrypt(&mut sectors, size, offset);
                prop_assert!(sectors == expected, "{cipher:?} at {:?}", cipher.level);
            }
        }
    }

    #[test]
    fn what_the_diffuser_encrypted_is_decrypted(
        key in prop::array::uniform::<_, 64>(any::<u8>()),
        seed in any::<u64>(),
        size in sizes(),
        count in 0_usize..20,
        first in 0_u64..1 << 50,
    ) {
        let plain = noise(seed, count * size);
        let offset = first * size as u64;
        for (method, encrypt) in [
            (Method::Aes128CbcElephant, elephant::<Aes128> as fn(&[u8], &[u8], u64) -> Vec<u8>),
            (Method::Aes256CbcElephant, elephant::<Aes256>),
        ] {
            let offsets = (offset..).step_by(size);
            let encrypted: Vec<u8> = plain
                .chunks(size)
                .zip(offsets)
                .flat_map(|(sector, offset)| encrypt(&key, sector, offset))
                .collect();
            for cipher in ciphers(method, &key) {
                let mut sectors = encrypted.clone();
                cipher.decrypt(&mut sectors, size, offset);
                prop_assert!(sectors == plain, "{cipher:?} at {:?}", cipher.level);
            }
        }
    }
}

/// Bytes without a pattern (xorshift).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let words = iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// IEEE 1619-2007, annex B, vectors 4 and 10: data units of 512 bytes, number 0 and number 255.
#[test]
fn xts_decrypts_the_vectors_of_ieee_1619() {
    let plain: Vec<u8> = (0..512).map(|byte| byte as u8).collect();
    for (method, key, number, encrypted) in [
        (
            Method::Aes128Xts,
            "2718281828459045235360287471352631415926535897932384626433832795",
            0,
            IEEE_1619_4,
        ),
        (
            Method::Aes256Xts,
            "2718281828459045235360287471352662497757247093699959574966967627\
             3141592653589793238462643383279502884197169399375105820974944592",
            255,
            IEEE_1619_10,
        ),
    ] {
        let mut sector = hex(encrypted);
        SectorCipher::new(method, &hex(key)).unwrap().decrypt(&mut sector, 512, number * 512);
        assert_eq!(sector, plain, "{method}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[test]
fn a_key_of_another_length_makes_no_cipher() {
    for method in Method::ALL {
        for len in 0..=80 {
            let made = SectorCipher::new(method, &vec![7; len]).is_some();
            assert_eq!(made, len == method.key_len(), "{method} with {len} bytes");
        }
    }
}

#[test]
fn with_the_diffuser_only_the_bytes_of_the_two_keys_matter() {
    let key: Vec<u8> = (0..64).collect();
    let mut other = key.clone();
    other[16..32].fill(0xaa);
    other[48..].fill(0xbb);
    let decrypted = [&key, &other].map(|key| {
        let mut sectors = noise(5, 4096);
        SectorCipher::new(Method::Aes128CbcElephant, key).unwrap().decrypt(&mut sectors, 512, 1 << 40);
        sectors
    });
    assert_eq!(decrypted[0], decrypted[1]);
}

#[test]
fn a_sector_is_decrypted_the_same_alone_as_among_others() {
    for method in Method::ALL {
        let cipher = SectorCipher::new(method, &noise(3, method.key_len())).unwrap();
        for size in [512, 1024, 2048, 4096] {
            let encrypted = noise(9, 40 * size);
            let offset = (1 << 33) + 7 * size as u64;
            let (mut together, mut alone) = (encrypted.clone(), encrypted);
            cipher.decrypt(&mut together, size, offset);
            for (sector, offset) in alone.chunks_mut(size).zip((offset..).step_by(size)) {
                cipher.decrypt(sector, size, offset);
            }
            assert!(together == alone, "{method}, sectors of {size} bytes");
        }
    }
}

#[test]
fn a_method_is_its_code_and_back() {
    for method in Method::ALL {
        assert_eq!(Method::from_code(method.code()), Some(method));
    }
    for code in [0, 0x7fff, 0x8006, 0x2004, 0xffff] {
        assert_eq!(Method::from_code(code), None);
    }
}

#[test]
fn no_key_is_shown() {
    let key = vec![0xa5; 64];
    let shown = format!("{:?}", SectorCipher::new(Method::Aes256Xts, &key).unwrap());
    assert_eq!(shown, "SectorCipher { method: Aes256Xts, .. }");
}

const IEEE_1619_4: &str = "\
    27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89cc78cf7f5e543445f8333d8fa7f560000\
    05279fa5d8b5e4ad40e736ddb4d35412328063fd2aab53e5ea1e0a9f332500a5df9487d07a5c92cc512c8866c7e860ce\
    93fdf166a24912b422976146ae20ce846bb7dc9ba94a767aaef20c0d61ad02655ea92dc4c4e41a8952c651d33174be51\
    a10c421110e6d81588ede82103a252d8a750e8768defffed9122810aaeb99f9172af82b604dc4b8e51bcb08235a6f434\
    1332e4ca60482a4ba1a03b3e65008fc5da76b70bf1690db4eae29c5f1badd03c5ccf2a55d705ddcd86d449511ceb7ec3\
    0bf12b1fa35b913f9f747a8afd1b130e94bff94effd01a91735ca1726acd0b197c4e5b03393697e126826fb6bbde8ecc\
    1e08298516e2c9ed03ff3c1b7860f6de76d4cecd94c8119855ef5297ca67e9f3e7ff72b1e99785ca0a7e7720c5b36dc6\
    d72cac9574c8cbbc2f801e23e56fd344b07f22154beba0f08ce8891e643ed995c94d9a69c9f1b5f499027a78572aeebd\
    74d20cc39881c213ee770b1010e4bea718846977ae119f7a023ab58cca0ad752afe656bb3c17256a9f6e9bf19fdd5a38\
    fc82bbe872c5539edb609ef4f79c203ebb140f2e583cb2ad15b4aa5b655016a8449277dbd477ef2c8d6c017db738b18d\
    eb4a427d1923ce3ff262735779a418f20a282df920147beabe421ee5319d0568";

const IEEE_1619_10: &str = "\
    1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d66b317f9ac683f44\
    680a86ac35adfc3345befecb4bb188fd5776926c49a3095eb108fd1098baec70aaa66999a72a82f27d848b21d4a741b0\
    c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca2a3e7a7d7df7b10355165c8b9a6d0a7d\
    e8b062c4500dc4cd120c0f7418dae3d0b5781c34803fa75421c790dfe1de1834f280d7667b327f6c8cd7557e12ac3a0f\
    93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c50841473d1a8cc81ec583e9645e07b8d9670655ba5bbcfecc6\
    dc3966380ad8fecb17b6ba02469a020a84e18e8f84252070c13e9f1f289be54fbc481457778f616015e1327a02b140f1\
    505eb309326d68378f8374595c849d84f4c333ec4423885143cb47bd71c5edae9be69a2ffeceb1bec9de244fbe15992b\
    11b77c040f12bd8f6a975a44a0f90c29a9abc3d4d893927284c58754cce294529f8614dcd2aba991925fedc4ae74ffac\
    6e333b93eb4aff0479da9a410e4450e0dd7ae4c6e2910900575da401fc07059f645e8b7e9bfdef33943054ff84011493\
    c27b3429eaedb4ed5376441a77ed43851ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550be97f7ab4066193c4caa\
    773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151";
