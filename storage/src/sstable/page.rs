//! A page: the unit of compression and checksum. What it says of itself lies in front of it, or in its block's header.
//!
//! ```text
//! codec     u8       0 plain, 1 LZ4 block
//! length    u32 LE   bytes when decoded
//! crc32c    u32 LE   of codec, length and data
//! data
//! ```

use crate::codec::{Damaged, Input, Result, put_u64};
use bytes::Bytes;
use common::limits;
use std::cell::Cell;

const HEADER_BYTES: usize = 9;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;
/// LZ4 cannot expand more: a length above is damage, and claims no memory.
const MAX_EXPANSION: usize = 255;
/// Compression that saves less than one part in so many is not worth undoing at every read.
const WORTH: usize = 16;
/// Shorter data is not worth compressing.
const SHORT: usize = 64;

/// Bytes of memory for looks at pages that a thread keeps at most.
const MAX_SPARE: usize = 1 << 20;

thread_local! {
    /// Memory for looks at pages.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is known of a page before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHead {
    codec: u8,
    /// Bytes stored.
    pub(super) stored: u32,
    /// Bytes when decoded.
    pub(super) length: u32,
    crc: u32,
}

impl PageHead {
    /// Appends `data` as it is to be stored.
    pub(super) fn pack(data: &[u8], out: &mut Vec<u8>) -> Self {
        let from = out.len();
        let smaller = data.len() >= SHORT && compress(data, out);
        if !smaller {
            out.extend_from_slice(data);
        }
        let codec = if smaller { LZ4 } else { PLAIN };
        // Cells are at most 100 MiB and a page ends with the cell that fills it.
        let (stored, length) = ((out.len() - from) as u32, data.len() as u32);
        Self { codec, stored, length, crc: checksum(codec, length, &out[from..]) }
    }

    /// Whether the page in `stored` is as it was written.
    pub(super) fn verify(&self, stored: &Bytes) -> Result<()> {
        let sound = stored.len() == self.stored as usize && checksum(self.codec, self.length, stored) == self.crc;
        if sound { Ok(()) } else { Err(Damaged("a page's checksum does not match")) }
    }

    /// The verified data of the page in `stored`.
    pub(super) fn unpack(&self, stored: &Bytes) -> Result<Bytes> {
        if self.is_plain(stored)? {
            return Ok(stored.clone());
        }
        let data = lz4_flex::block::decompress(stored, self.length as usize).map_err(|_| Damaged("a page does not decompress"))?;
        self.is_whole(data.len()).map(|()| data.into())
    }

    /// [`Self::unpack`] for a look: unless `look` keeps something of the data, its memory serves the next look.
    fn look<T>(&self, stored: &Bytes, look: impl FnOnce(&Bytes) -> Result<T>) -> Result<T> {
        let length = self.length as usize;
        if self.codec == PLAIN || length > MAX_SPARE {
            return look(&self.unpack(stored)?);
        }
        self.is_plain(stored)?;
        let mut spare = SPARE.take();
        if spare.len() < length {
            spare.resize(length, 0);
        }
        let written = lz4_flex::block::decompress_into(stored, &mut spare[..length]).map_err(|_| Damaged("a page does not decompress"));
        let spare = Bytes::from(spare);
        let seen = written.and_then(|written| self.is_whole(written)).and_then(|()| look(&spare.slice(..length)));
        if spare.is_unique() {
            SPARE.set(spare.into());
        }
        seen
    }

    /// Whether the page in `stored`, which is as it was written, is its own data; otherwise it is to be decompressed.
    fn is_plain(&self, stored: &Bytes) -> Result<bool> {
        self.verify(stored)?;
        let length = self.length as usize;
        match self.codec {
            PLAIN if stored.len() == length => Ok(true),
            LZ4 if length <= limits::MAX_RECORD_BYTES && length / MAX_EXPANSION <= stored.len() => Ok(false),
            _ => Err(Damaged("a page of an unknown codec or of another length than promised")),
        }
    }

    fn is_whole(&self, length: usize) -> Result<()> {
        if length == self.length as usize { Ok(()) } else { Err(Damaged("a page is shorter than promised")) }
    }

    /// Appends it as block headers hold it.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.codec);
        put_u64(out, u64::from(self.stored));
        put_u64(out, u64::from(self.length));
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Self> {
        let (codec, stored, length) = (input.u8()?, input.u32()?, input.u32()?);
        let crc = input.take(4)?;
        Ok(Self { codec, stored, length, crc: u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]) })
    }
}

/// Appends `data` compressed; false, and nothing, if that is not worth it.
fn compress(data: &[u8], out: &mut Vec<u8>) -> bool {
    let from = out.len();
    out.resize(from + lz4_flex::block::get_maximum_output_size(data.len()), 0);
    let packed = lz4_flex::block::compress_into(data, &mut out[from..]).unwrap_or(usize::MAX);
    let smaller = packed.saturating_add(data.len() / WORTH) <= data.len();
    out.truncate(if smaller { from + packed } else { from });
    smaller
}

fn checksum(codec: u8, length: u32, stored: &[u8]) -> u32 {
    let mut head = [codec, 0, 0, 0, 0];
    head[1..].copy_from_slice(&length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), stored)
}

/// A page that is not decoded yet.
#[derive(Clone, Debug)]
pub(super) struct RawPage {
    pub(super) head: PageHead,
    /// Empty if the page lies elsewhere.
    pub(super) stored: Bytes,
}

impl RawPage {
    pub(super) fn open(&self) -> Result<Bytes> {
        self.head.unpack(&self.stored)
    }

    /// [`Self::open`] for a look: unless `look` keeps something of the data, its memory serves the next look on this thread.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Bytes) -> Result<T>) -> Result<T> {
        self.head.look(&self.stored, look)
    }
}

/// The page of `data` with what it says of itself in front, compressed if that makes it smaller.
pub(super) fn encode(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    let head = PageHead::pack(data, &mut out);
    out[0] = head.codec;
    out[1..5].copy_from_slice(&head.length.to_le_bytes());
    out[5..HEADER_BYTES].copy_from_slice(&head.crc.to_le_bytes());
    out
}

/// The verified data of exactly one page.
pub(super) fn decode(page: &Bytes) -> Result<Bytes> {
    if page.len() < HEADER_BYTES {
        return Err(Damaged("a page is cut short"));
    }
    let u32_at = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
    let stored = page.slice(HEADER_BYTES..);
    let head = PageHead { codec: page[0], stored: stored.len() as u32, length: u32_at(1), crc: u32_at(5) };
    head.unpack(&stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_flipped_bit_is_refused() {
        for data in [vec![7u8; 1000], (0..=255).collect()] {
            let page = encode(&data);
            assert_eq!(decode(&page.clone().into()).unwrap(), data);
            for bit in 0..page.len() * 8 {
                let mut damaged = page.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&damaged.into()).is_err(), "bit {bit}");
            }
        }
    }

    /// A page whose checksum is that of `stored`, whatever that is.
    fn page_of(codec: u8, length: usize, stored: &[u8]) -> RawPage {
        let head = PageHead { codec, stored: stored.len() as u32, length: length as u32, crc: checksum(codec, length as u32, stored) };
        RawPage { head, stored: Bytes::copy_from_slice(stored) }
    }

    fn kept(page: &RawPage) -> Result<Bytes> {
        page.look(|data| Ok(data.clone()))
    }

    fn copied(page: &RawPage) -> Result<Bytes> {
        page.look(|data| Ok(Bytes::copy_from_slice(data)))
    }

    #[test]
    fn a_look_shows_what_is_there_and_no_later_look_changes_it() {
        let mut all = Vec::new();
        for length in [0, 1, 70, 5_000, 900, 200_000, MAX_SPARE + 1, 3_000] {
            let data: Vec<u8> = (0..length).map(|i| (i / 7 % 100) as u8).collect();
            let mut stored = Vec::new();
            let page = RawPage { head: PageHead::pack(&data, &mut stored), stored: stored.into() };
            assert_eq!(copied(&page).unwrap(), data);
            all.push((kept(&page).unwrap(), data));
        }
        all.iter().for_each(|(seen, data)| assert_eq!(seen, data));
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_lz4_are_refused_alike(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0usize..300,
            length in 0usize..5_000,
        ) {
            let mut packed = vec![0; lz4_flex::block::get_maximum_output_size(bytes.len() * 2)];
            let size = lz4_flex::block::compress_into(&bytes.repeat(2), &mut packed).unwrap();
            for stored in [&bytes[..], &packed[..cut.min(size)]] {
                let page = page_of(LZ4, length, stored);
                let seen = [page.open().ok(), kept(&page).ok(), copied(&page).ok()];
                prop_assert!(seen[0] == seen[1] && seen[1] == seen[2], "{:?}", seen);
                if let Some(data) = &seen[0] {
                    prop_assert_eq!(data.len(), length);
                }
            }
        }
    }
}
