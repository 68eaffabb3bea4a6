//! A column of a batch out of pieces of blocks' columns: as a slice where it is one piece, else by whole-piece copies.

use super::page::{Column, Form, internal};
use arrow_array::builder::GenericByteBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, BinaryType, ByteArrayType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType, Utf8Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, GenericByteArray, PrimitiveArray, UInt32Array, new_null_array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat;
use arrow_select::take::take;
use common::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Neighbouring rows of a column.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) column: &'a Column,
    pub(super) rows: Range<usize>,
}

impl Piece<'_> {
    /// Whether each row has a value; `None`: all have.
    fn nulls(&self) -> Option<&NullBuffer> {
        match &self.column.form {
            Form::Plain(array) => array.nulls(),
            Form::Dict { codes, .. } => codes.nulls(),
            Form::Absent => None,
        }
    }

    fn has_nulls(&self) -> bool {
        matches!(self.column.form, Form::Absent) || self.nulls().is_some()
    }

    fn slice(&self, ty: &DataType) -> Result<ArrayRef> {
        let (from, len) = (self.rows.start, self.rows.len());
        match &self.column.form {
            Form::Plain(array) if len == array.len() => Ok(array.clone()),
            Form::Plain(array) => Ok(array.slice(from, len)),
            Form::Dict { entries, codes } => take(entries, &codes.slice(from, len), None).map_err(|e| internal(&e)),
            Form::Absent => Ok(new_null_array(ty, len)),
        }
    }
}

/// The pieces one behind the other, together `rows` rows, as an array of type `ty`.
///
/// # Errors
/// `Internal` for pieces of another type.
pub(super) fn gather(ty: &DataType, pieces: &[Piece<'_>], rows: usize) -> Result<ArrayRef> {
    if let [one] = pieces {
        return one.slice(ty);
    }
    match ty {
        DataType::Int64 => numbers::<Int64Type>(pieces, rows),
        DataType::Float64 => numbers::<Float64Type>(pieces, rows),
        DataType::Timestamp(TimeUnit::Microsecond, None) => numbers::<TimestampMicrosecondType>(pieces, rows),
        DataType::Date32 => numbers::<Date32Type>(pieces, rows),
        DataType::Boolean => bools(pieces, rows),
        DataType::Utf8 => texts::<Utf8Type>(pieces, rows),
        DataType::Binary => texts::<BinaryType>(pieces, rows),
        _ => {
            let slices: Vec<_> = pieces.iter().map(|piece| piece.slice(ty)).collect::<Result<_>>()?;
            concat(&slices.iter().map(AsRef::as_ref).collect::<Vec<_>>()).map_err(|e| internal(&e))
        }
    }
}

fn other_type() -> Error {
    Error::internal("a column of another type than its output's")
}

fn numbers<T: ArrowPrimitiveType>(pieces: &[Piece<'_>], rows: usize) -> Result<ArrayRef> {
    let mut values: Vec<T::Native> = Vec::with_capacity(rows);
    for piece in pieces {
        match &piece.column.form {
            Form::Plain(array) => {
                let array = array.as_primitive_opt::<T>().ok_or_else(other_type)?;
                values.extend_from_slice(&array.values()[piece.rows.clone()]);
            }
            Form::Absent => values.resize(values.len() + piece.rows.len(), T::Native::default()),
            Form::Dict { .. } => return Err(other_type()),
        }
    }
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls(pieces, rows))))
}

fn bools(pieces: &[Piece<'_>], rows: usize) -> Result<ArrayRef> {
    let mut values = BooleanBufferBuilder::new(rows);
    for piece in pieces {
        match &piece.column.form {
            Form::Plain(array) => append(array.as_boolean_opt().ok_or_else(other_type)?.values(), &piece.rows, &mut values),
            Form::Absent => values.append_n(piece.rows.len(), false),
            Form::Dict { .. } => return Err(other_type()),
        }
    }
    Ok(Arc::new(BooleanArray::new(values.finish(), nulls(pieces, rows))))
}

fn append(bits: &BooleanBuffer, rows: &Range<usize>, out: &mut BooleanBufferBuilder) {
    out.append_packed_range(bits.offset() + rows.start..bits.offset() + rows.end, bits.values());
}

fn nulls(pieces: &[Piece<'_>], rows: usize) -> Option<NullBuffer> {
    if !pieces.iter().any(Piece::has_nulls) {
        return None;
    }
    let mut out = BooleanBufferBuilder::new(rows);
    for piece in pieces {
        match piece.nulls() {
            Some(nulls) => append(nulls.inner(), &piece.rows, &mut out),
            None => out.append_n(piece.rows.len(), !piece.has_nulls()),
        }
    }
    Some(NullBuffer::new(out.finish()))
}

fn texts<T: ByteArrayType<Offset = i32>>(pieces: &[Piece<'_>], rows: usize) -> Result<ArrayRef> {
    let mut bytes = 0;
    for piece in pieces {
        bytes += bytes_of::<T>(piece)?;
    }
    if pieces.iter().any(|piece| matches!(piece.column.form, Form::Dict { .. })) {
        let mut out = Texts::with_capacity(rows, bytes);
        for piece in pieces {
            out.push::<T>(piece)?;
        }
        return out.finish::<T>(nulls(pieces, rows));
    }
    let mut out = GenericByteBuilder::<T>::with_capacity(rows, bytes);
    for piece in pieces {
        match &piece.column.form {
            Form::Plain(array) => {
                let array = array.as_bytes_opt::<T>().ok_or_else(other_type)?;
                out.append_array(&array.slice(piece.rows.start, piece.rows.len())).map_err(|e| internal(&e))?;
            }
            Form::Absent => out.append_nulls(piece.rows.len()),
            Form::Dict { .. } => return Err(other_type()),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Bytes of a piece's texts, about where they are in a dictionary.
fn bytes_of<T: ByteArrayType<Offset = i32>>(piece: &Piece<'_>) -> Result<usize> {
    Ok(match &piece.column.form {
        Form::Plain(array) => {
            let offsets = array.as_bytes_opt::<T>().ok_or_else(other_type)?.offsets();
            (offsets[piece.rows.end] - offsets[piece.rows.start]) as usize
        }
        Form::Dict { entries, .. } => {
            let entries = entries.as_bytes_opt::<T>().ok_or_else(other_type)?;
            entries.value_data().len() * piece.rows.len() / entries.len().max(1)
        }
        Form::Absent => 0,
    })
}

/// Bytes of an entry that are copied at once: copies of a known length need no call.
const CHUNK: usize = 16;

/// Texts of dictionaries, which are mostly short, and others among them.
struct Texts {
    offsets: Vec<i32>,
    /// The texts, up to `end`; behind it lies what copies of whole chunks have left.
    data: Vec<u8>,
    end: usize,
}

impl Texts {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, data: Vec::with_capacity(bytes + CHUNK), end: 0 }
    }

    fn push<T: ByteArrayType<Offset = i32>>(&mut self, piece: &Piece<'_>) -> Result<()> {
        match &piece.column.form {
            Form::Plain(array) => {
                let array = array.as_bytes_opt::<T>().ok_or_else(other_type)?;
                let offsets = &array.value_offsets()[piece.rows.start..=piece.rows.end];
                let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
                let shift = offset(self.end)?.wrapping_sub(first);
                self.data.truncate(self.end);
                self.data.extend_from_slice(&array.value_data()[first as usize..last as usize]);
                self.end = self.data.len();
                self.offsets.extend(offsets[1..].iter().map(|end| end.wrapping_add(shift)));
            }
            Form::Dict { entries, codes } => self.expand(entries.as_bytes_opt::<T>().ok_or_else(other_type)?, codes, &piece.rows)?,
            Form::Absent => self.offsets.resize(self.offsets.len() + piece.rows.len(), offset(self.end)?),
        }
        offset(self.end).map(drop)
    }

    /// First where each text ends, then the texts: neither loop has to make room as it goes.
    fn expand<T: ByteArrayType<Offset = i32>>(
        &mut self,
        entries: &GenericByteArray<T>,
        codes: &UInt32Array,
        rows: &Range<usize>,
    ) -> Result<()> {
        let (places, all) = (entries.value_offsets(), entries.value_data());
        let place = |code: u32| (places[code as usize] as usize, places[code as usize + 1] as usize);
        let (nulls, values) = (codes.nulls(), &codes.values()[rows.clone()]);
        let (from, mut end) = (self.offsets.len() - 1, self.end);
        let mut end_behind = |length: usize| {
            end += length;
            end as i32
        };
        let length = |code: &u32| place(*code).1 - place(*code).0;
        match nulls {
            None => self.offsets.extend(values.iter().map(|code| end_behind(length(code)))),
            Some(nulls) => {
                let lengths = values.iter().zip(rows.clone()).map(|(code, row)| if nulls.is_valid(row) { length(code) } else { 0 });
                self.offsets.extend(lengths.map(end_behind));
            }
        }
        offset(end)?;
        self.end = end;
        self.data.resize(end + CHUNK, 0);
        let tail = Tail::of(all);
        for (code, ends) in values.iter().zip(self.offsets[from..].windows(2)) {
            let (start, length) = (ends[0] as usize, (ends[1] - ends[0]) as usize);
            match length {
                // Null, or empty: the code may stand for nothing.
                0 => {}
                // What is too much is overwritten by the next text, or lies behind the end.
                1..=CHUNK => self.data[start..start + CHUNK].copy_from_slice(tail.chunk(all, place(*code).0)),
                _ => self.data[start..start + length].copy_from_slice(&all[place(*code).0..][..length]),
            }
        }
        Ok(())
    }

    fn finish<T: ByteArrayType<Offset = i32>>(mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        self.data.truncate(self.end);
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, self.data.into(), nulls).map_err(|e| internal(&e))?))
    }
}

/// Where a text ends, in an array of texts.
fn offset(end: usize) -> Result<i32> {
    i32::try_from(end).map_err(|_| Error::internal("texts of a batch are above 2 GiB"))
}

/// The last bytes of a dictionary with room behind them, so that a whole chunk can be read where an entry is shorter.
struct Tail {
    bytes: [u8; 2 * CHUNK],
    /// Where they begin in the dictionary.
    from: usize,
}

impl Tail {
    fn of(all: &[u8]) -> Self {
        let from = all.len().saturating_sub(CHUNK);
        let mut bytes = [0; 2 * CHUNK];
        bytes[..all.len() - from].copy_from_slice(&all[from..]);
        Self { bytes, from }
    }

    /// A chunk from `at` on, which is at most the dictionary's length.
    fn chunk<'a>(&'a self, all: &'a [u8], at: usize) -> &'a [u8; CHUNK] {
        let chunk = all.get(at..).and_then(|rest| rest.first_chunk());
        chunk.or_else(|| self.bytes.get(at.saturating_sub(self.from)..)?.first_chunk()).unwrap_or(&[0; CHUNK])
    }
}
