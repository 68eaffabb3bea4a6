//! A column of a batch out of pieces of blocks' columns: as a slice where it is one piece, else by whole-piece copies.

use super::page::{Column, Form, internal};
use arrow_array::builder::GenericByteBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, BinaryType, ByteArrayType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType, Utf8Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, GenericByteArray, PrimitiveArray, UInt32Array, new_null_array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat;
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
            Form::Eights { nulls, .. } => nulls.as_ref(),
            Form::Text(array) => array.nulls(),
            Form::Plain(array) => array.nulls(),
            Form::Dict { codes, .. } => codes.nulls(),
            Form::Absent => None,
        }
    }

    fn has_nulls(&self) -> bool {
        matches!(self.column.form, Form::Absent) || self.nulls().is_some()
    }

    fn is_dictionary(&self) -> bool {
        matches!(self.column.form, Form::Dict { .. })
    }

    /// As an array of type `ty` that shares the piece's memory; `None` if it has to be built.
    fn share(&self, ty: &DataType) -> Option<ArrayRef> {
        let (from, len) = (self.rows.start, self.rows.len());
        match &self.column.form {
            Form::Eights { .. } if len <= COPIED => None,
            Form::Text(array) if len <= COPIED && bytes(array, &self.rows) <= COPIED_BYTES => None,
            Form::Plain(_) if *ty == DataType::Boolean && len <= COPIED => None,
            Form::Eights { values, nulls } => {
                let nulls = nulls.as_ref().map(|nulls| nulls.slice(from, len));
                eights(ty, values, from, len, nulls)
            }
            Form::Text(array) if *ty == DataType::Utf8 => Some(Arc::new(array.slice(from, len))),
            Form::Plain(array) if len == array.len() => Some(array.clone()),
            Form::Plain(array) => Some(array.slice(from, len)),
            Form::Absent => Some(new_null_array(ty, len)),
            Form::Text(_) | Form::Dict { .. } => None,
        }
    }
}

/// Rows of a column that are copied instead of shared. To copy what lies in one piece takes next to nothing, and who reads it then
/// finds it in the processor's cache; to count another user of the memory, and to read from it here and there, waits for memory.
const COPIED: usize = 512;
/// Bytes of such texts at most.
const COPIED_BYTES: usize = 64 << 10;

/// Bytes of these texts.
fn bytes<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>, rows: &Range<usize>) -> usize {
    (array.offsets()[rows.end] - array.offsets()[rows.start]) as usize
}

fn eights(ty: &DataType, values: &Buffer, from: usize, len: usize, nulls: Option<NullBuffer>) -> Option<ArrayRef> {
    fn of<T: ArrowPrimitiveType>(values: &Buffer, from: usize, len: usize, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::new(values.clone(), from, len), nulls))
    }
    match ty {
        DataType::Int64 => Some(of::<Int64Type>(values, from, len, nulls)),
        DataType::Float64 => Some(of::<Float64Type>(values, from, len, nulls)),
        DataType::Timestamp(TimeUnit::Microsecond, None) => Some(of::<TimestampMicrosecondType>(values, from, len, nulls)),
        _ => None,
    }
}

/// The pieces one behind the other, together `rows` rows, as an array of type `ty`.
///
/// # Errors
/// `Internal` for pieces of another type.
pub(super) fn gather(ty: &DataType, pieces: &[Piece<'_>], rows: usize) -> Result<ArrayRef> {
    if let [one] = pieces
        && let Some(array) = one.share(ty)
    {
        return Ok(array);
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
            let slices = pieces.iter().map(|piece| piece.share(ty)).collect::<Option<Vec<_>>>().ok_or_else(other_type)?;
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
            Form::Eights { values: eights, .. } if size_of::<T::Native>() == size_of::<i64>() => {
                values.extend_from_slice(&eights.typed_data()[piece.rows.clone()]);
            }
            Form::Plain(array) => {
                let array = array.as_primitive_opt::<T>().ok_or_else(other_type)?;
                values.extend_from_slice(&array.values()[piece.rows.clone()]);
            }
            Form::Absent => values.resize(values.len() + piece.rows.len(), T::Native::default()),
            Form::Eights { .. } | Form::Text(_) | Form::Dict { .. } => return Err(other_type()),
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
            Form::Eights { .. } | Form::Text(_) | Form::Dict { .. } => return Err(other_type()),
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
    if pieces.iter().any(Piece::is_dictionary) {
        let mut out = Texts::with_capacity(rows, bytes);
        for piece in pieces {
            out.push::<T>(piece)?;
        }
        return out.finish::<T>(nulls(pieces, rows));
    }
    let mut out = GenericByteBuilder::<T>::with_capacity(rows, bytes);
    for piece in pieces {
        match of_bytes::<T>(&piece.column.form)? {
            Some(array) => out.append_array(&array.slice(piece.rows.start, piece.rows.len())).map_err(|e| internal(&e))?,
            None => out.append_nulls(piece.rows.len()),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The texts of a form that is no dictionary; `None` if it has none.
fn of_bytes<T: ByteArrayType<Offset = i32>>(form: &Form) -> Result<Option<&GenericByteArray<T>>> {
    let array: &dyn Array = match form {
        Form::Text(array) => array,
        Form::Plain(array) => array,
        Form::Absent => return Ok(None),
        Form::Eights { .. } | Form::Dict { .. } => return Err(other_type()),
    };
    array.as_bytes_opt::<T>().map(Some).ok_or_else(other_type)
}

/// Bytes of a piece's texts, about where they are in a dictionary.
fn bytes_of<T: ByteArrayType<Offset = i32>>(piece: &Piece<'_>) -> Result<usize> {
    if let Form::Dict { entries, .. } = &piece.column.form {
        let entries = entries.as_bytes_opt::<T>().ok_or_else(other_type)?;
        return Ok(entries.value_data().len() * piece.rows.len() / entries.len().max(1));
    }
    Ok(of_bytes::<T>(&piece.column.form)?.map_or(0, |array| bytes(array, &piece.rows)))
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
        let end = self.end()?;
        if let Form::Dict { entries, codes } = &piece.column.form {
            self.expand(entries.as_bytes_opt::<T>().ok_or_else(other_type)?, codes, &piece.rows);
        } else if let Some(array) = of_bytes::<T>(&piece.column.form)? {
            let offsets = &array.value_offsets()[piece.rows.start..=piece.rows.end];
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            let shift = end.wrapping_sub(first);
            self.data.extend_from_slice(&array.value_data()[first as usize..last as usize]);
            self.offsets.extend(offsets[1..].iter().map(|end| end.wrapping_add(shift)));
        } else {
            self.offsets.resize(self.offsets.len() + piece.rows.len(), end);
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
