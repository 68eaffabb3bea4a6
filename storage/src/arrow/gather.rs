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
    data: Vec<u8>,
}

impl Texts {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, data: Vec::with_capacity(bytes + CHUNK) }
    }

    fn push<T: ByteArrayType<Offset = i32>>(&mut self, piece: &Piece<'_>) -> Result<()> {
        match &piece.column.form {
            Form::Plain(array) => {
                let array = array.as_bytes_opt::<T>().ok_or_else(other_type)?;
                let offsets = &array.value_offsets()[piece.rows.start..=piece.rows.end];
                let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
                let shift = self.end()?.wrapping_sub(first);
                self.data.extend_from_slice(&array.value_data()[first as usize..last as usize]);
                self.offsets.extend(offsets[1..].iter().map(|end| end.wrapping_add(shift)));
            }
            Form::Dict { entries, codes } => {
                self.end()?;
                self.expand(entries.as_bytes_opt::<T>().ok_or_else(other_type)?, codes, &piece.rows);
            }
            Form::Absent => {
                let end = self.end()?;
                self.offsets.resize(self.offsets.len() + piece.rows.len(), end);
            }
        }
        self.end().map(drop)
    }

    /// Where the next text begins.
    fn end(&self) -> Result<i32> {
        i32::try_from(self.data.len()).map_err(|_| Error::internal("texts of a batch are above 2 GiB"))
    }

    fn expand<T: ByteArrayType<Offset = i32>>(&mut self, entries: &GenericByteArray<T>, codes: &UInt32Array, rows: &Range<usize>) {
        let (places, all) = (entries.value_offsets(), entries.value_data());
        let (data, nulls) = (&mut self.data, codes.nulls());
        let of_rows = codes.values()[rows.clone()].iter().zip(rows.clone());
        self.offsets.extend(of_rows.map(|(code, row)| {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                let (from, to) = (places[*code as usize] as usize, places[*code as usize + 1] as usize);
                let length = to - from;
                match all[from..].first_chunk::<CHUNK>() {
                    Some(chunk) if length <= CHUNK => {
                        data.extend_from_slice(chunk);
                        data.truncate(data.len() - CHUNK + length);
                    }
                    _ => data.extend_from_slice(&all[from..to]),
                }
            }
            data.len() as i32
        }));
    }

    fn finish<T: ByteArrayType<Offset = i32>>(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, self.data.into(), nulls).map_err(|e| internal(&e))?))
    }
}
