//! A column page as an Arrow array: by reuse of its buffers where page and array agree, by whole-page loops elsewhere.

use super::column::ColumnBuilder;
use super::value::day;
use crate::sstable::{ColumnPage, Values};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, StringArray, UInt32Array};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use bytes::Bytes;
use common::schema::arrow_type;
use common::value::ValueType;
use common::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Which row of a page holds a value that is not one of its column's type, and why.
pub(super) type RowError = (usize, Error);

/// A block's column in Arrow.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) form: Form,
    /// Rows whose values are not of the column's type, rising; they are null in the array.
    pub(super) bad: Vec<RowError>,
}

/// What a read of few rows looks at lies in one piece of memory: each pointer that it follows is likely to miss the processor's
/// caches.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Values of 8 bytes, as Arrow has them: 0 where there is none.
    Eights {
        values: Buffer,
        nulls: Option<NullBuffer>,
    },
    Text(StringArray),
    Plain(ArrayRef),
    /// Row *i* has the entry `codes[i]`.
    Dict {
        entries: ArrayRef,
        codes: UInt32Array,
    },
    /// No row has it.
    Absent,
}

/// Some rows of a block.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    /// Neighbours, in order.
    Range(Range<usize>),
    /// In any order.
    List(UInt32Array),
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::List(list) => list.len(),
        }
    }

    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::Range(range) => Box::new(range.clone()),
            Self::List(list) => Box::new(list.values().iter().map(|row| *row as usize)),
        }
    }

    /// Looks at each in turn, until one fails.
    pub(super) fn each(&self, mut look: impl FnMut(usize) -> Result<()>) -> Result<()> {
        match self {
            Self::Range(range) => range.clone().try_for_each(look),
            Self::List(list) => list.values().iter().try_for_each(|row| look(*row as usize)),
        }
    }

    /// The row of the block at place `i`.
    pub(super) fn at(&self, i: usize) -> usize {
        match self {
            Self::Range(range) => range.start + i,
            Self::List(list) => list.value(i) as usize,
        }
    }

    /// These rows of an array of the block's.
    pub(super) fn of(&self, array: &ArrayRef) -> Result<ArrayRef> {
        match self {
            Self::Range(range) if range.len() == array.len() => Ok(array.clone()),
            Self::Range(range) => Ok(array.slice(range.start, range.len())),
            Self::List(list) => take(array, list, None).map_err(|e| internal(&e)),
        }
    }
}

pub(super) fn internal(e: &ArrowError) -> Error {
    Error::internal(format!("arrow: {e}"))
}

impl Column {
    pub(super) const ABSENT: Self = Self { form: Form::Absent, bad: Vec::new() };

    /// A column as an array has it.
    pub(super) fn plain(array: ArrayRef) -> Self {
        Self { form: Form::Plain(array), bad: Vec::new() }
    }

    /// The page of a column of type `ty`.
    pub(super) fn of_page(page: &ColumnPage, ty: ValueType) -> Self {
        let nulls = page.present.clone();
        let form = match (&page.values, ty) {
            (Values::Fixed8(values), ty) => fixed(values, nulls, ty),
            (Values::Bool(values), ValueType::Bool) => Some(Form::Plain(Arc::new(BooleanArray::new(values.clone(), nulls)))),
            (Values::Bool(_), _) => None,
            (Values::Var { offsets, data }, ValueType::String | ValueType::Json) => text(offsets, data, nulls).map(Form::Text),
            (Values::Var { offsets, data }, ValueType::Bytes) => binary(offsets, data, nulls).map(Form::Plain),
            (Values::Var { .. }, _) => None,
            (Values::Dict { codes, offsets, data }, ty) => entries(offsets, data, ty)
                .filter(|entries| in_dictionary(codes, entries.len()))
                .map(|entries| Form::Dict { entries, codes: UInt32Array::new(codes.clone(), nulls) }),
        };
        form.map_or_else(|| cell_by_cell(page, ty), |form| Self { form, bad: Vec::new() })
    }

    /// Has [`Self::of_page`] made once for all scans as long as the page stays in memory; gives what cannot be kept there. What is
    /// kept is [found](Self::kept), not handed out: to count its users would cost a read of few rows more than to look for it.
    pub(super) fn keep(page: &ColumnPage, ty: ValueType) -> Option<Self> {
        if Self::kept(page, ty).is_some() {
            return None;
        }
        let column = Self::of_page(page, ty);
        if !column.shares_memory(page, ty) {
            return Some(column);
        }
        page.memo.set(Memo { ty, column });
        // Another type's may have been first.
        if Self::kept(page, ty).is_some() { None } else { Some(Self::of_page(page, ty)) }
    }

    /// What was [kept](Self::keep).
    pub(super) fn kept(page: &ColumnPage, ty: ValueType) -> Option<&Self> {
        page.memo.get::<Memo>().filter(|memo| memo.ty == ty).map(|memo| &memo.column)
    }

    /// Whether it takes next to no memory beside its page's.
    fn shares_memory(&self, page: &ColumnPage, ty: ValueType) -> bool {
        let same_form = match &page.values {
            Values::Fixed8(_) => !matches!(ty, ValueType::Date),
            Values::Bool(_) => ty == ValueType::Bool,
            Values::Var { .. } | Values::Dict { .. } => matches!(ty, ValueType::String | ValueType::Json | ValueType::Bytes),
        };
        same_form && self.bad.is_empty()
    }

    /// The first row in `rows` whose value is not of the column's type.
    pub(super) fn bad_row(&self, rows: &Range<usize>) -> Option<&RowError> {
        let from = self.bad.partition_point(|(row, _)| *row < rows.start);
        self.bad.get(from).filter(|(row, _)| *row < rows.end)
    }
}

/// What a page became.
struct Memo {
    ty: ValueType,
    column: Column,
}

/// Fixed-width values of type `ty`; `None` if `ty` has another form, or some value is no date.
fn fixed(values: &ScalarBuffer<i64>, nulls: Option<NullBuffer>, ty: ValueType) -> Option<Form> {
    match ty {
        ValueType::Int64 | ValueType::Timestamp | ValueType::Float64 => Some(Form::Eights { values: values.inner().clone(), nulls }),
        ValueType::Date => {
            let days: Vec<_> = values.iter().map(|days| day(*days)).collect::<Result<_>>().ok()?;
            Some(Form::Plain(Arc::new(Date32Array::new(days.into(), nulls))))
        }
        ValueType::Bool | ValueType::String | ValueType::Json | ValueType::Bytes => None,
    }
}

/// `None` if some value is not text.
fn text(offsets: &OffsetBuffer<i32>, data: &Bytes, nulls: Option<NullBuffer>) -> Option<StringArray> {
    StringArray::try_new(offsets.clone(), Buffer::from(data.clone()), nulls).ok()
}

fn binary(offsets: &OffsetBuffer<i32>, data: &Bytes, nulls: Option<NullBuffer>) -> Option<ArrayRef> {
    BinaryArray::try_new(offsets.clone(), Buffer::from(data.clone()), nulls).ok().map(|array| Arc::new(array) as ArrayRef)
}

/// The entries of a dictionary; `None` if `ty` has another form, or some entry is not text.
fn entries(offsets: &OffsetBuffer<i32>, data: &Bytes, ty: ValueType) -> Option<ArrayRef> {
    match ty {
        ValueType::String | ValueType::Json => text(offsets, data, None).map(|array| Arc::new(array) as ArrayRef),
        ValueType::Bytes => binary(offsets, data, None),
        _ => None,
    }
}

fn in_dictionary(codes: &ScalarBuffer<u32>, entries: usize) -> bool {
    // Without an early end, so that it is done several at a time.
    codes.iter().fold(0, |highest, code| highest.max(*code)) < entries as u32
}

/// The way for values of another physical kind than their type's: what does not fit is named.
fn cell_by_cell(page: &ColumnPage, ty: ValueType) -> Column {
    let mut cells = Cells::new(ty);
    for row in 0..page_rows(page) {
        if page.is_present(row) {
            with_value(page, row, |value| {
                cells.push(value);
                Ok(())
            })
            .unwrap_or_else(|e| cells.push_bad(e));
        } else {
            cells.push_null();
        }
    }
    cells.finish()
}

/// Builds a column of cells of which some may not be of its type.
pub(super) struct Cells {
    builder: ColumnBuilder,
    rows: usize,
    bad: Vec<RowError>,
}

impl Cells {
    pub(super) fn new(ty: ValueType) -> Self {
        Self { builder: ColumnBuilder::of(&arrow_type(ty)), rows: 0, bad: Vec::new() }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn push(&mut self, value: &[u8]) {
        match self.builder.push_cell(value) {
            Ok(()) => self.rows += 1,
            Err(e) => self.push_bad(e),
        }
    }

    fn push_bad(&mut self, e: Error) {
        self.bad.push((self.rows, e));
        self.push_null();
    }

    pub(super) fn push_null(&mut self) {
        self.builder.push_null();
        self.rows += 1;
    }

    pub(super) fn finish(mut self) -> Column {
        Column { form: Form::Plain(self.builder.finish()), bad: self.bad }
    }
}

/// Rows that a page is about.
pub(super) fn page_rows(page: &ColumnPage) -> usize {
    match &page.values {
        Values::Fixed8(values) => values.len(),
        Values::Bool(values) => values.len(),
        Values::Var { offsets, .. } => offsets.len() - 1,
        Values::Dict { codes, .. } => codes.len(),
    }
}

/// Hands out the bytes of a row's value, which must be present.
pub(super) fn with_value<T>(page: &ColumnPage, row: usize, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let of = |offsets: &OffsetBuffer<i32>, at: usize| Some(*offsets.get(at)? as usize..*offsets.get(at + 1)? as usize);
    match &page.values {
        Values::Fixed8(values) => read(&values[row].to_be_bytes()),
        Values::Bool(values) => read(&[u8::from(values.value(row))]),
        Values::Var { offsets, data } => read(of(offsets, row).and_then(|place| data.get(place)).ok_or_else(outside)?),
        Values::Dict { codes, offsets, data } => {
            read(of(offsets, codes[row] as usize).and_then(|place| data.get(place)).ok_or_else(outside)?)
        }
    }
}

fn outside() -> Error {
    Error::corrupt("a value lies outside its page")
}

#[cfg(test)]
mod tests;
