//! The bytes of a file on the disk, in blocks that the states and images of one disk share.
//!
//! The checksum changes with each write by the blocks that it touches, so an image's costs no more than its changes.

use crate::seed::mix;
use std::rc::Rc;

/// Bytes in a block.
const BLOCK_BYTES: usize = 1024;

/// Bytes that are shared until they are changed. They are not all zero: a block of zeroes is a hole.
#[derive(Clone, Debug)]
struct Block {
    bytes: Rc<[u8; BLOCK_BYTES]>,
    hash: u64,
}

/// The bytes of a file. A clone costs one counter for each block.
#[derive(Clone, Debug, Default)]
pub struct Content {
    length: u64,
    /// `None` is a hole: all zeroes.
    blocks: Vec<Option<Block>>,
    /// The sum of the blocks' hashes.
    sum: u64,
}

impl Content {
    /// These bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// A checksum of 64 bits over bytes and length.
    pub fn hash(&self) -> u64 {
        mix(self.sum ^ mix(self.length))
    }

    /// A copy of all bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        for (offset, block) in self.runs() {
            let length = block.len().min(bytes.len() - offset);
            bytes[offset..offset + length].copy_from_slice(&block[..length]);
        }
        bytes
    }

    /// The blocks that are no holes, each with its offset. The last one may reach beyond the end.
    pub(in crate::media::sim) fn runs(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let blocks = self.blocks.iter().enumerate();
        blocks.filter_map(|(index, block)| Some((index * BLOCK_BYTES, &block.as_ref()?.bytes[..])))
    }

    /// Stores bytes; the file grows if need be.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut position = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (index, within) = (position / BLOCK_BYTES, position % BLOCK_BYTES);
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - within));
            self.change(index, |block| block[within..within + now.len()].copy_from_slice(now));
            position += now.len();
            rest = later;
        }
        self.length = self.length.max(position as u64);
    }

    /// Sets these bytes to zero; the file grows if need be.
    pub fn zero(&mut self, offset: u64, length: u64) {
        let end = offset + length;
        let mut position = offset as usize;
        while position < (end as usize).min(self.blocks.len() * BLOCK_BYTES) {
            let (index, within) = (position / BLOCK_BYTES, position % BLOCK_BYTES);
            let now = (end as usize - position).min(BLOCK_BYTES - within);
            if self.blocks[index].is_some() {
                self.change(index, |block| block[within..within + now].fill(0));
            }
            position += now;
        }
        self.length = self.length.max(end);
    }

    /// Sets the length.
    pub fn truncate(&mut self, length: u64) {
        if length < self.length {
            let beyond = self.length - length;
            self.zero(length, beyond);
            self.blocks.truncate((length as usize).div_ceil(BLOCK_BYTES));
        }
        self.length = length;
    }

    fn change(&mut self, index: usize, write: impl FnOnce(&mut [u8; BLOCK_BYTES])) {
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, None);
        }
        let slot = &mut self.blocks[index];
        let mut block = slot.take().unwrap_or_else(|| Block { bytes: Rc::new([0; BLOCK_BYTES]), hash: 0 });
        write(Rc::make_mut(&mut block.bytes));
        self.sum = self.sum.wrapping_sub(block.hash);
        block.hash = hash(index, &block.bytes);
        self.sum = self.sum.wrapping_add(block.hash);
        // The hash of zeroes is zero.
        *slot = Some(block).filter(|block| block.hash != 0);
    }
}

/// The hash of a block at this place; 0 for zeroes, and for hardly anything else.
fn hash(index: usize, bytes: &[u8; BLOCK_BYTES]) -> u64 {
    const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;
    let mut lanes = [index as u64, 1, 2, 3];
    let mut any = 0;
    for chunk in bytes.chunks_exact(32) {
        for (lane, word) in lanes.iter_mut().zip(chunk.as_chunks::<8>().0) {
            let word = u64::from_le_bytes(*word);
            any |= word;
            *lane = (*lane ^ word).wrapping_mul(FACTOR).rotate_left(29);
        }
    }
    if any == 0 { 0 } else { lanes.iter().fold(mix(index as u64), |sum, lane| mix(sum ^ lane)).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_have_equal_hashes_however_they_came_about() {
        let mut content = Content::from_bytes(&[7; 3000]);
        content.write(5000, &[1, 2, 3]);
        content.truncate(2500);
        content.truncate(4000);
        let mut expected = vec![7; 2500];
        expected.resize(4000, 0);
        assert_eq!(content.to_vec(), expected);
        assert_eq!(content.hash(), Content::from_bytes(&expected).hash());
        content.write(0, &[0; 4000]);
        let mut zeroes = Content::default();
        zeroes.truncate(4000);
        assert_eq!((content.hash(), content.runs().count()), (zeroes.hash(), 0));
    }

    #[test]
    fn place_length_and_bytes_tell_contents_apart() {
        let hash = |bytes: &[u8]| Content::from_bytes(bytes).hash();
        let mut there = vec![0; 4096];
        there[1024] = 1;
        let mut elsewhere = vec![0; 4096];
        elsewhere[2048] = 1;
        assert_ne!(hash(&there), hash(&elsewhere));
        assert_ne!(hash(&[0; 10]), hash(&[0; 11]));
        assert_ne!(hash(&[1; 10]), hash(&[2; 10]));
    }

    #[test]
    fn clones_are_apart() {
        let mut content = Content::from_bytes(&[7; 2000]);
        let before = content.clone();
        content.write(10, &[8]);
        assert_eq!(before.to_vec(), [7; 2000]);
        assert_ne!(before.hash(), content.hash());
    }
}
