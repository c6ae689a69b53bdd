//! Numbers out of bytes; nothing here can panic, whatever the bytes are.

use rusqlite::ffi;

/// Four bytes at an offset, big-endian as in all of SQLite's files but the wal-index.
pub(super) fn be_u32(bytes: &[u8], offset_bytes: usize) -> Option<u32> {
    array(bytes, offset_bytes).map(u32::from_be_bytes)
}

/// Four bytes at an offset, in the byte order of this machine, as in the wal-index.
pub(super) fn ne_u32(bytes: &[u8], offset_bytes: usize) -> Option<u32> {
    array(bytes, offset_bytes).map(u32::from_ne_bytes)
}

/// A fixed number of bytes at an offset.
pub(super) fn array<const N: usize>(bytes: &[u8], offset_bytes: usize) -> Option<[u8; N]> {
    bytes.get(offset_bytes..)?.first_chunk().copied()
}

/// Whether SQLite can have pages of that size: a power of two from 512 to 65536.
pub(super) fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (512..=65536).contains(&bytes)
}

/// SQLite's version number (3054001) as people write it (3.54.1).
pub(super) fn version_text(number: u32) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000)
}

/// The version of the SQLite that this program is linked with.
pub(super) fn linked_version() -> String {
    version_text(ffi::SQLITE_VERSION_NUMBER.cast_unsigned())
}

/// The two running sums of SQLite's log, over pairs of words (WAL format, "Checksum Algorithm").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u32, pub(super) u32);

impl Checksum {
    /// Goes on over `bytes`, whose length is a multiple of 8; what is beyond the last multiple is not counted.
    pub(super) fn extend(self, bytes: &[u8], word: fn([u8; 4]) -> u32) -> Checksum {
        let Checksum(mut s1, mut s2) = self;
        let (words, _) = bytes.as_chunks::<4>();
        for [first, second] in words.as_chunks::<2>().0 {
            s1 = s1.wrapping_add(word(*first)).wrapping_add(s2);
            s2 = s2.wrapping_add(word(*second)).wrapping_add(s1);
        }
        Checksum(s1, s2)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small generator (SplitMix64) for damage that is the same each time.
    pub(crate) struct Damage(pub(crate) u64);

    impl Damage {
        pub(crate) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// The same bytes with some of them changed, cut off or put behind.
        pub(crate) fn of(&mut self, bytes: &[u8]) -> Vec<u8> {
            let mut bytes = bytes.to_vec();
            for _ in 0..self.next() % 8 {
                let place = self.next() as usize % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = self.next() as u8;
                }
            }
            match self.next() % 4 {
                0 => bytes.truncate(self.next() as usize % (bytes.len() + 1)),
                1 => bytes.extend((0..self.next() % 5000).map(|n| n as u8)),
                _ => {}
            }
            bytes
        }
    }

    #[test]
    fn numbers_beyond_the_end_are_none() {
        assert_eq!(be_u32(&[1, 2, 3, 4, 5], 1), Some(0x0203_0405));
        assert_eq!(be_u32(&[1, 2, 3, 4, 5], 2), None);
        assert_eq!(ne_u32(&[], usize::MAX), None);
    }

    #[test]
    fn versions_read_as_people_write_them() {
        assert_eq!(version_text(3_054_001), "3.54.1");
        assert_eq!(version_text(3_007_000), "3.7.0");
        assert_eq!(linked_version(), rusqlite::version());
    }
}
