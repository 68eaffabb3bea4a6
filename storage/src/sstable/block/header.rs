//! The header of a columnar block: what pages it has, and where they lie.
//!
//! ```text
//! length of the header u32 LE, its CRC32C u32 LE
//! rows varint, first ordinal varint
//! heads of the pages of keys, timestamps, seqs
//! columns varint, each: place varint, flags u8 (1 dense, 2 with exceptions, 4 wide), then its page's head, or for a wide one
//!     pages varint, each: rows varint, bytes from it to the block varint, head
//! overflow u8: 0 none, 1: its head follows
//! pages: keys, timestamps, seqs, each column that is not wide, overflow
//! ```

use super::super::encode::{decode_ints, decode_keys};
use super::super::layout::MAX_BLOCK_ROWS;
use super::super::page::{PageHead, RawPage};
use super::Object;
use super::columnar::{ColumnInfo, ColumnSlot, ColumnarBlock, Keys, OverflowSlot, Pages, RowReads, Versions, VersionsSlot, WidePage};
use super::points::BYTES_A_ROW as POINT_BYTES;
use crate::codec::{Damaged, Input, Result, put_u64};
use arrow_buffer::OffsetBuffer;
use bytes::Bytes;
use common::ids::Seq;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

pub(super) const HEADER_BYTES: usize = 8;
const DENSE: u8 = 1;
const EXCEPTIONS: u8 = 2;
const WIDE: u8 = 4;

/// A page of a wide column that is written already.
#[derive(Clone, Copy, Debug)]
pub(in crate::sstable) struct WideRun {
    pub(in crate::sstable) rows: usize,
    pub(in crate::sstable) offset: u64,
    pub(in crate::sstable) head: PageHead,
}

/// A column as a header says it.
pub(super) struct HeaderColumn<'a> {
    pub(super) info: ColumnInfo,
    pub(super) pages: HeaderPages<'a>,
}

pub(super) enum HeaderPages<'a> {
    Narrow(PageHead),
    Wide(&'a [WideRun]),
}

pub(super) struct Header<'a> {
    pub(super) rows: usize,
    pub(super) first_ordinal: u64,
    /// Keys, timestamps, seqs.
    pub(super) rows_pages: [PageHead; 3],
    pub(super) columns: Vec<HeaderColumn<'a>>,
    pub(super) overflow: Option<PageHead>,
}

impl Header<'_> {
    /// The header of a block at `offset`, its pages to follow.
    pub(super) fn encode(&self, offset: u64) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        put_u64(&mut out, self.rows as u64);
        put_u64(&mut out, self.first_ordinal);
        self.rows_pages.iter().for_each(|head| head.put(&mut out));
        put_u64(&mut out, self.columns.len() as u64);
        for HeaderColumn { info, pages } in &self.columns {
            put_u64(&mut out, u64::from(info.place));
            let wide = if matches!(pages, HeaderPages::Wide(_)) { WIDE } else { 0 };
            out.push((u8::from(info.dense) * DENSE) | (u8::from(info.exceptions) * EXCEPTIONS) | wide);
            match pages {
                HeaderPages::Narrow(head) => head.put(&mut out),
                HeaderPages::Wide(runs) => put_runs(runs, offset, &mut out),
            }
        }
        out.push(u8::from(self.overflow.is_some()));
        self.overflow.iter().for_each(|head| head.put(&mut out));
        let length = (out.len() - HEADER_BYTES) as u32;
        out[..4].copy_from_slice(&length.to_le_bytes());
        let crc = checksum(&out);
        out[4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

fn put_runs(runs: &[WideRun], offset: u64, out: &mut Vec<u8>) {
    put_u64(out, runs.len() as u64);
    for run in runs {
        put_u64(out, run.rows as u64);
        put_u64(out, offset - run.offset);
        run.head.put(out);
    }
}

fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..4]), &header[HEADER_BYTES..])
}

/// Reads a block; all but its keys is decoded when asked for.
pub(in crate::sstable) fn parse(object: &Arc<Object>, offset: u64, bytes: &Bytes) -> Result<ColumnarBlock> {
    let u32_at = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let length = u32_at(0).ok_or(Damaged("a block is cut short"))? as usize;
    let end = HEADER_BYTES.saturating_add(length);
    if bytes.len() < end || u32_at(4) != Some(checksum(&bytes[..end])) {
        return Err(Damaged("the checksum of a block's header does not match"));
    }
    let mut parser = Parser { input: Input::new(bytes, HEADER_BYTES, end), bytes, page_at: end, offset, weight: bytes.len() as u64 };
    parser.block(object)
}

struct Parser<'a> {
    input: Input<'a>,
    bytes: &'a Bytes,
    /// Where the next page begins.
    page_at: usize,
    offset: u64,
    weight: u64,
}

impl Parser<'_> {
    fn block(&mut self, object: &Arc<Object>) -> Result<ColumnarBlock> {
        let rows = self.input.u64()? as usize;
        let first_ordinal = self.input.u64()?;
        if rows > MAX_BLOCK_ROWS {
            return Err(Damaged("a block of too many rows"));
        }
        let (keys, timestamps, seqs) = (self.page()?, self.page()?, self.page()?);
        let count = self.input.u64()? as usize;
        let mut columns = Vec::with_capacity(count.min(self.input.left()));
        for _ in 0..count {
            columns.push(self.column(rows)?);
        }
        let overflow = match self.input.u8()? {
            0 => None,
            _ => Some(OverflowSlot { raw: self.page()?, decoded: OnceLock::new() }),
        };
        if self.page_at != self.bytes.len() || !self.input.is_done() {
            return Err(Damaged("the pages of a block are not all of it"));
        }
        let keys = read_keys(&keys, rows)?;
        let weight = self.weight + (rows * (20 + POINT_BYTES) + keys.data.len() + 256 + columns.len() * 96) as u64;
        Ok(ColumnarBlock {
            object: object.clone(),
            offset: self.offset,
            first_ordinal,
            keys,
            points: OnceLock::new(),
            row_reads: RowReads::default(),
            versions: VersionsSlot { timestamps, seqs, decoded: OnceLock::new() },
            columns,
            overflow,
            weight,
            damaged: AtomicBool::new(false),
        })
    }

    fn page(&mut self) -> Result<RawPage> {
        let head = PageHead::read(&mut self.input)?;
        let to = self.page_at.checked_add(head.stored as usize).filter(|to| *to <= self.bytes.len());
        let to = to.ok_or(Damaged("a page reaches over its block's end"))?;
        let stored = self.bytes.slice(self.page_at..to);
        self.page_at = to;
        self.weight += u64::from(head.length);
        Ok(RawPage { head, stored })
    }

    fn column(&mut self, rows: usize) -> Result<ColumnSlot> {
        let place = self.input.u32()?;
        let flags = self.input.u8()?;
        let info = ColumnInfo { place, dense: flags & DENSE != 0, exceptions: flags & EXCEPTIONS != 0 };
        if flags & WIDE != 0 {
            return Ok(ColumnSlot { info, pages: Pages::Wide(self.wide(rows)?) });
        }
        self.weight += 8 * rows as u64;
        Ok(ColumnSlot { info, pages: Pages::Narrow { raw: self.page()?, decoded: OnceLock::new() } })
    }

    fn wide(&mut self, rows: usize) -> Result<Vec<WidePage>> {
        let count = self.input.u64()? as usize;
        let mut pages = Vec::with_capacity(count.min(rows));
        let mut first_row = 0;
        for _ in 0..count {
            let of_page = self.input.u64()? as usize;
            let offset = self.offset.checked_sub(self.input.u64()?).ok_or(Damaged("a wide page before the object's start"))?;
            let head = PageHead::read(&mut self.input)?;
            if of_page == 0 || of_page > rows - first_row {
                return Err(Damaged("wide pages do not fit their block's rows"));
            }
            pages.push(WidePage { first_row, rows: of_page, offset, head });
            first_row += of_page;
        }
        if first_row == rows { Ok(pages) } else { Err(Damaged("wide pages do not fit their block's rows")) }
    }
}

fn read_keys(page: &RawPage, rows: usize) -> Result<Keys> {
    let (offsets, data) = page.look(|data| decode_keys(&mut Input::new(data, 0, data.len()), rows))?;
    Ok(Keys { offsets: OffsetBuffer::new(offsets.into()), data })
}

impl VersionsSlot {
    /// The versions of so many rows, all of the seq `given` if that is some.
    pub(super) fn decode(&self, rows: usize, given: Option<Seq>) -> Result<Versions> {
        let timestamps = read_ints(&self.timestamps, rows)?;
        let seqs: Vec<u64> = match given {
            None => read_ints(&self.seqs, rows)?.into_iter().map(|seq| seq as u64).collect(),
            Some(seq) => vec![seq.0; rows],
        };
        Ok(Versions { timestamps: timestamps.into(), seqs: seqs.into() })
    }
}

fn read_ints(page: &RawPage, rows: usize) -> Result<Vec<i64>> {
    page.look(|data| decode_ints(&mut Input::new(data, 0, data.len()), rows))
}
