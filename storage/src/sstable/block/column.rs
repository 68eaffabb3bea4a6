//! A column page.
//!
//! ```text
//! kind u8: 0 fixed 8, 1 bool, 2 bytes
//! presence
//! number of exceptions varint; if there are any: rows, timestamps, seqs, as integers
//! values of the rows present: integers, booleans or byte strings
//! ```

use super::super::encode::{
    ByteColumn, decode_bools, decode_bytes, decode_ints, decode_presence, encode_bools, encode_bytes, encode_ints, encode_presence, spread,
    spread_offsets,
};
use super::super::page::RawPage;
use super::columnar::{ColumnPage, Exceptions, Memo, Values};
use crate::codec::{Damaged, Input, Result, put_u64};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer, OffsetBuffer, ScalarBuffer};
use common::ids::Seq;
use std::ops::Range;

const FIXED8: u8 = 0;
const BOOL: u8 = 1;
const VAR: u8 = 2;

/// The newest cells of a column that fit its physical kind, of rows that rise.
#[derive(Debug)]
pub(in crate::sstable) struct ColumnCells {
    pub(in crate::sstable) rows: Vec<u32>,
    pub(in crate::sstable) values: CellValues,
    pub(in crate::sstable) exceptions: Exceptions,
}

#[derive(Debug)]
pub(in crate::sstable) enum CellValues {
    Fixed8(Vec<i64>),
    Bool(Vec<bool>),
    /// Where each ends, and all.
    Var(Vec<u32>, Vec<u8>),
}

impl CellValues {
    /// Appends a value; false if it is of another kind.
    pub(in crate::sstable) fn push(&mut self, value: &[u8]) -> bool {
        match self {
            Self::Fixed8(list) => match <[u8; 8]>::try_from(value) {
                Ok(bytes) => list.push(i64::from_be_bytes(bytes)),
                Err(_) => return false,
            },
            Self::Bool(list) => match value {
                [byte @ (0 | 1)] => list.push(*byte == 1),
                _ => return false,
            },
            Self::Var(ends, data) => {
                data.extend_from_slice(value);
                ends.push(data.len() as u32);
            }
        }
        true
    }

    fn clear(&mut self) {
        match self {
            Self::Fixed8(list) => list.clear(),
            Self::Bool(list) => list.clear(),
            Self::Var(ends, data) => {
                ends.clear();
                data.clear();
            }
        }
    }

    /// Bytes of value `i`.
    pub(in crate::sstable) fn len_of(&self, i: usize) -> usize {
        match self {
            Self::Fixed8(_) => 8,
            Self::Bool(_) => 1,
            Self::Var(ends, _) => (ends[i] - start(ends, i)) as usize,
        }
    }

    pub(in crate::sstable) fn var(&self, i: usize) -> &[u8] {
        match self {
            Self::Var(ends, data) => &data[start(ends, i) as usize..ends[i] as usize],
            _ => &[],
        }
    }

    /// Value `i` as its cell had it.
    pub(in crate::sstable) fn put(&self, i: usize, out: &mut Vec<u8>) {
        match self {
            Self::Fixed8(list) => out.extend_from_slice(&list[i].to_be_bytes()),
            Self::Bool(list) => out.push(u8::from(list[i])),
            Self::Var(..) => out.extend_from_slice(self.var(i)),
        }
    }

    fn encode(&self, entries: Range<usize>, out: &mut Vec<u8>) {
        match self {
            Self::Fixed8(list) => encode_ints(&list[entries], out),
            Self::Bool(list) => encode_bools(&BooleanBuffer::from(&list[entries]), out),
            Self::Var(..) => {
                let values: Vec<&[u8]> = entries.map(|i| self.var(i)).collect();
                encode_bytes(&values, out);
            }
        }
    }
}

fn start(ends: &[u32], i: usize) -> u32 {
    i.checked_sub(1).map_or(0, |before| ends[before])
}

impl ColumnCells {
    pub(in crate::sstable) fn clear(&mut self) {
        self.rows.clear();
        self.values.clear();
        let Exceptions { rows, timestamps, seqs } = &mut self.exceptions;
        rows.clear();
        timestamps.clear();
        seqs.clear();
    }

    /// The entries of these rows.
    pub(in crate::sstable) fn entries(&self, rows: &Range<usize>) -> Range<usize> {
        let at = |row: usize| self.rows.partition_point(|r| (*r as usize) < row);
        at(rows.start)..at(rows.end)
    }

    /// Timestamp and seq of a row's cell if they are not its row's.
    pub(in crate::sstable) fn exception(&self, row: u32) -> Option<(i64, u64)> {
        let at = self.exceptions.rows.binary_search(&row).ok()?;
        Some((self.exceptions.timestamps[at], self.exceptions.seqs[at]))
    }

    /// Appends the page of these rows; whether there are exceptions.
    pub(in crate::sstable) fn encode(&self, rows: &Range<usize>, entries: Range<usize>, out: &mut Vec<u8>) -> bool {
        out.push(match self.values {
            CellValues::Fixed8(_) => FIXED8,
            CellValues::Bool(_) => BOOL,
            CellValues::Var(..) => VAR,
        });
        if entries.len() == rows.len() {
            encode_presence(&BooleanBuffer::new_set(rows.len()), out);
        } else {
            let mut present = BooleanBufferBuilder::new(rows.len());
            present.append_n(rows.len(), false);
            self.rows[entries.clone()].iter().for_each(|row| present.set_bit(*row as usize - rows.start, true));
            encode_presence(&present.finish(), out);
        }
        let exceptions = self.encode_exceptions(rows, out);
        self.values.encode(entries, out);
        exceptions
    }

    fn encode_exceptions(&self, rows: &Range<usize>, out: &mut Vec<u8>) -> bool {
        let e = &self.exceptions;
        let at = |row: usize| e.rows.partition_point(|r| (*r as usize) < row);
        let inside = at(rows.start)..at(rows.end);
        put_u64(out, inside.len() as u64);
        if inside.is_empty() {
            return false;
        }
        let of_block: Vec<i64> = e.rows[inside.clone()].iter().map(|row| i64::from(*row) - rows.start as i64).collect();
        encode_ints(&of_block, out);
        encode_ints(&e.timestamps[inside.clone()], out);
        let seqs: Vec<i64> = e.seqs[inside].iter().map(|seq| *seq as i64).collect();
        encode_ints(&seqs, out);
        true
    }
}

/// Decodes the page of a column of so many rows, all of the seq `given` if that is some.
pub(in crate::sstable) fn decode(raw: &RawPage, rows: usize, given: Option<Seq>) -> Result<ColumnPage> {
    let data = raw.open()?;
    let mut input = Input::new(&data, 0, data.len());
    let kind = input.u8()?;
    let present = decode_presence(&mut input, rows)?;
    let mut exceptions = decode_exceptions(&mut input, rows)?;
    if let Some(seq) = given {
        exceptions.seqs.fill(seq.0);
    }
    let values = decode_values(kind, &mut input, present.as_ref(), rows)?;
    if input.is_done() {
        Ok(ColumnPage { present, values, exceptions, memo: Memo::default() })
    } else {
        Err(Damaged("a page goes on behind its values"))
    }
}

fn decode_exceptions(input: &mut Input<'_>, rows: usize) -> Result<Exceptions> {
    let count = input.u64()? as usize;
    if count == 0 {
        return Ok(Exceptions::default());
    }
    if count > rows {
        return Err(Damaged("more exceptions than rows"));
    }
    let at: Vec<u32> = decode_ints(input, count)?.into_iter().map(|row| row as u32).collect();
    let rising = at.windows(2).all(|w| w[0] < w[1]);
    if !rising || at.last().is_some_and(|last| *last as usize >= rows) {
        return Err(Damaged("exceptions are out of order"));
    }
    let timestamps = decode_ints(input, count)?;
    let seqs = decode_ints(input, count)?.into_iter().map(|seq| seq as u64).collect();
    Ok(Exceptions { rows: at, timestamps, seqs })
}

fn decode_values(kind: u8, input: &mut Input<'_>, present: Option<&NullBuffer>, rows: usize) -> Result<Values> {
    let count = present.map_or(rows, |p| rows - p.null_count());
    match kind {
        FIXED8 => {
            let values = decode_ints(input, count)?;
            Ok(Values::Fixed8(match present {
                Some(present) => spread(&values, present)?.into(),
                None => values.into(),
            }))
        }
        BOOL => {
            let values = decode_bools(input, count)?;
            Ok(Values::Bool(match present {
                Some(present) => spread_bools(&values, present),
                None => values,
            }))
        }
        VAR => decode_var(input, count, present),
        _ => Err(Damaged("a column of an unknown kind")),
    }
}

fn decode_var(input: &mut Input<'_>, count: usize, present: Option<&NullBuffer>) -> Result<Values> {
    match decode_bytes(input, count)? {
        ByteColumn::Plain { offsets, data } => {
            let offsets = match present {
                Some(present) => spread_offsets(&offsets, present)?,
                None => offsets,
            };
            Ok(Values::Var { offsets: OffsetBuffer::new(offsets.into()), data })
        }
        ByteColumn::Dictionary { codes, offsets, data } => {
            let codes: ScalarBuffer<u32> = match present {
                Some(present) => spread(&codes, present)?.into(),
                None => codes.into(),
            };
            Ok(Values::Dict { codes, offsets: OffsetBuffer::new(offsets.into()), data })
        }
    }
}

fn spread_bools(values: &BooleanBuffer, present: &NullBuffer) -> BooleanBuffer {
    let mut out = BooleanBufferBuilder::new(present.len());
    out.append_n(present.len(), false);
    present.valid_indices().zip(values).for_each(|(row, value)| out.set_bit(row, value));
    out.finish()
}
