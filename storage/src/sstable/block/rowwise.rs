//! The rows of a columnar block once more, each in one piece: for blocks whose single rows are asked for again and again. What
//! columns keep in as many places of memory as there are columns, each a wait of its own, lies in neighbouring lines here.
//!
//! ```text
//! record:  flags and length of the key u16, timestamp i64, seq u64, of each column where its value ends u16 (from where values begin),
//!          if flagged of each column timestamp i64 and seq u64, key, values
//! unsure:  flags and length of the key u16, key
//! ```

use super::clean::{Shown, WideOfRows};
use super::columnar::{ColumnPage, ColumnarBlock, Overflow, Versions};
use crate::sstable::filter::KeyHash;
use crate::sstable::properties::{ColumnStats, Dictionary};
use bytes::Bytes;
use common::row::{Cell, Row};
use common::time::Micros;
use common::{Error, Result};
use std::ops::Range;

/// Rows with larger values are left in their pages, which they can share.
const MAX_VALUES: usize = 8 << 10;
/// What is not known here of more rows than one in so many is not worth its memory.
const UNSURE_SHARE: usize = 4;

/// The row is not here but for its key.
const UNSURE: u16 = 1 << 15;
/// Some cell has another timestamp or seq than its row.
const EXCEPTIONS: u16 = 1 << 14;
const KEY_LENGTH: u16 = EXCEPTIONS - 1;
/// In the place of an end: the row has no cell of the column.
const ABSENT: u16 = 1 << 15;
const VERSION_BYTES: usize = 16;
/// In front of the ends.
const HEADER_BYTES: usize = 2 + VERSION_BYTES;

/// See the module's page.
#[derive(Debug)]
pub(in crate::sstable) struct Rowwise {
    /// The block's columns: their places in the dictionary.
    columns: Box<[u32]>,
    /// Open addressing by the low half of a key's hash; a power of two, more than there are rows. The high half and 1 + where the
    /// record begins; 0 where there is none.
    places: Box<[u64]>,
    records: Vec<u8>,
}

/// A cell that is shown.
struct Picked<'a> {
    column: &'a ColumnStats,
    timestamp: i64,
    /// Where its value lies, from where values begin.
    value: Range<usize>,
}

impl Rowwise {
    /// The rows of a block, whose wide pages must all be there. `None` if it would not help.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(in crate::sstable) fn of(block: &ColumnarBlock, wide: &impl WideOfRows) -> Result<Option<Self>> {
        let source = Source::of(block, wide)?;
        let rows = block.rows();
        let mut made = Self {
            columns: block.columns().iter().map(|slot| slot.info.place).collect(),
            places: vec![0; (rows + rows / 4 + 1).next_power_of_two()].into(),
            records: Vec::with_capacity(source.bytes(rows)),
        };
        let (mut unsure, mut pieces) = (0, Vec::with_capacity(block.columns().len()));
        for row in 0..rows {
            let Ok(place) = u32::try_from(made.records.len() + 1) else { return Ok(None) };
            if block.key(row).len() > usize::from(KEY_LENGTH) {
                return Ok(None);
            }
            made.insert(KeyHash::of_row(block.key(row)), place);
            unsure += usize::from(!source.put(row, &mut pieces, &mut made.records)?);
        }
        made.records.shrink_to_fit();
        Ok((unsure * UNSURE_SHARE <= rows).then_some(made))
    }

    fn insert(&mut self, hash: KeyHash, place: u32) {
        let mut at = self.first(hash);
        while self.places[at] != 0 {
            at = self.next(at);
        }
        self.places[at] = tag(hash) | u64::from(place);
    }

    /// Where the record of this key begins; `None` if the block has no such row.
    pub(in crate::sstable) fn find(&self, key: &[u8], hash: KeyHash) -> Option<usize> {
        let mut at = self.first(hash);
        loop {
            let place = self.places[at];
            let record = (place as u32).checked_sub(1)? as usize;
            if place ^ tag(hash) <= u64::from(u32::MAX) && self.record(record).key() == key {
                return Some(record);
            }
            at = self.next(at);
        }
    }

    fn first(&self, hash: KeyHash) -> usize {
        hash.0 as u32 as usize & (self.places.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    fn record(&self, at: usize) -> Record<'_> {
        Record { bytes: &self.records[at..], columns: self.columns.len() }
    }

    /// Whether the row of a [record](Self::find) must be read from the block.
    pub(in crate::sstable) fn is_unsure(&self, at: usize) -> bool {
        self.record(at).flags() & UNSURE != 0
    }

    /// The row of a [record](Self::find) that is not [unsure](Self::is_unsure) as it is shown, in memory of its own; `None` if nothing
    /// of it is.
    ///
    /// # Errors
    /// `Internal` if the dictionary is not the block's.
    pub(in crate::sstable) fn row<W, S>(&self, at: usize, dictionary: &Dictionary, shown: &Shown<W, S>) -> Result<Option<Row>>
    where
        W: Fn(u32, &ColumnStats) -> bool,
        S: Fn(&ColumnStats, Micros) -> bool,
    {
        let record = self.record(at);
        let mut picked: Vec<Picked<'_>> = Vec::with_capacity(self.columns.len());
        let (mut from, mut bytes) = (0, 0);
        for (i, &place) in self.columns.iter().enumerate() {
            let Some(to) = record.end(i) else { continue };
            let value = from..to;
            from = to;
            let column = dictionary.column(place).ok_or_else(|| Error::internal("a block's rows meet a dictionary of another file"))?;
            let (timestamp, seq) = record.version(i);
            if seq <= shown.at.0 && (shown.wants)(place, column) && (shown.shows)(column, Micros(timestamp)) {
                bytes += value.len();
                picked.push(Picked { column, timestamp, value });
            }
        }
        Ok((!picked.is_empty()).then(|| record.assemble(&picked, (from, bytes))))
    }

    /// Bytes in memory.
    pub(in crate::sstable) fn weight(&self) -> u64 {
        (self.records.len() + 8 * self.places.len() + 4 * self.columns.len() + 128) as u64
    }
}

fn tag(hash: KeyHash) -> u64 {
    hash.0 & !u64::from(u32::MAX)
}

/// A record and what lies behind it.
#[derive(Clone, Copy)]
struct Record<'a> {
    bytes: &'a [u8],
    columns: usize,
}

impl<'a> Record<'a> {
    fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn u64(self, at: usize) -> u64 {
        self.bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn flags(self) -> u16 {
        self.u16(0)
    }

    /// Where the key begins.
    fn key_at(self) -> usize {
        let flags = self.flags();
        if flags & UNSURE != 0 {
            return 2;
        }
        HEADER_BYTES + self.columns * if flags & EXCEPTIONS != 0 { 2 + VERSION_BYTES } else { 2 }
    }

    fn key(self) -> &'a [u8] {
        let at = self.key_at();
        &self.bytes[at..at + usize::from(self.flags() & KEY_LENGTH)]
    }

    /// Where the value of the column at this place ends, if it has one.
    fn end(self, column: usize) -> Option<usize> {
        let end = self.u16(HEADER_BYTES + 2 * column);
        (end != ABSENT).then_some(usize::from(end))
    }

    /// Timestamp and seq of the cell of the column at this place.
    fn version(self, column: usize) -> (i64, u64) {
        let exceptions = self.flags() & EXCEPTIONS != 0;
        let at = if exceptions { HEADER_BYTES + 2 * self.columns + VERSION_BYTES * column } else { 2 };
        (self.u64(at).cast_signed(), self.u64(at + 8))
    }

    /// The row of these cells; `all` are the bytes of all values and of those.
    fn assemble(self, picked: &[Picked<'_>], all: (usize, usize)) -> Row {
        let (at, key) = (self.key_at(), usize::from(self.flags() & KEY_LENGTH));
        let values = &self.bytes[at + key..];
        let mut copy = Vec::with_capacity(key + all.1);
        if all.0 == all.1 {
            copy.extend_from_slice(&self.bytes[at..at + key + all.0]);
        } else {
            copy.extend_from_slice(&self.bytes[at..at + key]);
            picked.iter().for_each(|cell| copy.extend_from_slice(&values[cell.value.clone()]));
        }
        let mut copy = Bytes::from(copy);
        let cell = |all: &mut Bytes, cell: &Picked<'_>| Cell {
            family: cell.column.family,
            qualifier: cell.column.qualifier.clone(),
            timestamp: Micros(cell.timestamp),
            value: all.split_to(cell.value.len()),
        };
        Row { key: copy.split_to(key), cells: picked.iter().map(|picked| cell(&mut copy, picked)).collect() }
    }
}

/// What rows are made of.
struct Source<'a, P> {
    block: &'a ColumnarBlock,
    versions: &'a Versions,
    overflow: Option<&'a Overflow>,
    /// Of each column, unless it is wide.
    pages: Vec<Option<&'a ColumnPage>>,
    wide: &'a P,
}

/// A column's page and the row in it.
type Piece<'a> = (&'a ColumnPage, usize);

impl<'a, P: WideOfRows> Source<'a, P> {
    fn of(block: &'a ColumnarBlock, wide: &'a P) -> Result<Self> {
        let pages = block.columns().iter().map(|slot| Ok(block.page(slot)?.map(AsRef::as_ref))).collect::<Result<_>>()?;
        Ok(Self { block, versions: block.versions()?, overflow: block.overflow()?, pages, wide })
    }

    /// About the bytes that so many rows take, to begin with.
    fn bytes(&self, rows: usize) -> usize {
        rows * (HEADER_BYTES + 2 * self.pages.len()) + self.block.weight() as usize / 2
    }

    /// Appends the record of a row; whether all of the row is there. `pieces` is memory for it.
    fn put(&self, row: usize, pieces: &mut Vec<Piece<'a>>, out: &mut Vec<u8>) -> Result<bool> {
        pieces.clear();
        for (at, (slot, page)) in self.block.columns().iter().zip(&self.pages).enumerate() {
            let piece = page.map(|page| (page, row)).or_else(|| self.wide.wide(at, slot, row));
            pieces.push(piece.ok_or_else(|| Error::internal("a wide page was not read before its rows"))?);
        }
        let key = self.block.key(row);
        let values: usize = pieces.iter().filter(|(page, row)| page.is_present(*row)).map(|(page, row)| page.length(*row)).sum();
        if values > MAX_VALUES || self.overflow.is_some_and(|overflow| !overflow.of_row(row).is_empty()) {
            out.extend_from_slice(&(UNSURE | key.len() as u16).to_le_bytes());
            out.extend_from_slice(key);
            return Ok(false);
        }
        let own = self.versions.of(row);
        let exceptions = pieces.iter().any(|(page, row)| page.exception(*row).is_some());
        out.extend_from_slice(&((u16::from(exceptions) * EXCEPTIONS) | key.len() as u16).to_le_bytes());
        put_version(own, out);
        put_ends(pieces, out);
        if exceptions {
            pieces.iter().for_each(|(page, row)| put_version(page.exception(*row).unwrap_or(own), out));
        }
        out.extend_from_slice(key);
        pieces.iter().filter(|(page, row)| page.is_present(*row)).for_each(|(page, row)| page.put(*row, out));
        Ok(true)
    }
}

fn put_version((timestamp, seq): (i64, u64), out: &mut Vec<u8>) {
    out.extend_from_slice(&timestamp.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
}

fn put_ends(pieces: &[Piece<'_>], out: &mut Vec<u8>) {
    let mut end = 0;
    for (page, row) in pieces {
        let present = page.is_present(*row);
        end += if present { page.length(*row) } else { 0 };
        out.extend_from_slice(&if present { end as u16 } else { ABSENT }.to_le_bytes());
    }
}
