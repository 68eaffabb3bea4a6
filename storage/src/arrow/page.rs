//! A column page as an Arrow array: by reuse of its buffers where page and array agree, by whole-page loops elsewhere.

use super::column::ColumnBuilder;
use super::value::day;
use crate::sstable::{ColumnPage, Values};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array,
};
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

#[derive(Clone, Debug)]
pub(super) enum Form {
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
            (Values::Fixed8(values), ty) => fixed(values, nulls, ty).map(Form::Plain),
            (Values::Bool(values), ValueType::Bool) => Some(Form::Plain(Arc::new(BooleanArray::new(values.clone(), nulls)))),
            (Values::Bool(_), _) => None,
            (Values::Var { offsets, data }, ty) => texts(offsets, data, nulls, ty).map(Form::Plain),
            (Values::Dict { codes, offsets, data }, ty) => texts(offsets, data, None, ty)
                .filter(|entries| in_dictionary(codes, entries.len()))
                .map(|entries| Form::Dict { entries, codes: UInt32Array::new(codes.clone(), nulls) }),
        };
        form.map_or_else(|| cell_by_cell(page, ty), |form| Self { form, bad: Vec::new() })
    }

    /// [`Self::of_page`], made once for all scans as long as the page stays in memory.
    pub(super) fn shared(page: &ColumnPage, ty: ValueType) -> Arc<Self> {
        if let Some(memo) = page.memo.get::<Memo>()
            && memo.ty == ty
        {
            return memo.column.clone();
        }
        let column = Arc::new(Self::of_page(page, ty));
        if column.shares_memory(page, ty) {
            page.memo.set(Memo { ty, column: column.clone() });
        }
        column
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
    column: Arc<Column>,
}

/// Fixed-width values in an array of type `ty`; `None` if `ty` has another form, or some value is no date.
fn fixed(values: &ScalarBuffer<i64>, nulls: Option<NullBuffer>, ty: ValueType) -> Option<ArrayRef> {
    Some(match ty {
        ValueType::Int64 => Arc::new(Int64Array::new(values.clone(), nulls)),
        ValueType::Timestamp => Arc::new(TimestampMicrosecondArray::new(values.clone(), nulls)),
        // The same 8 bytes, read as what they are.
        ValueType::Float64 => Arc::new(Float64Array::new(ScalarBuffer::new(values.inner().clone(), 0, values.len()), nulls)),
        ValueType::Date => {
            let days: Vec<_> = values.iter().map(|days| day(*days)).collect::<Result<_>>().ok()?;
            Arc::new(Date32Array::new(days.into(), nulls))
        }
        ValueType::Bool | ValueType::String | ValueType::Json | ValueType::Bytes => return None,
    })
}

/// Values of any length in an array of type `ty`; `None` if `ty` has another form, or some value is not text.
fn texts(offsets: &OffsetBuffer<i32>, data: &Bytes, nulls: Option<NullBuffer>, ty: ValueType) -> Option<ArrayRef> {
    let data = Buffer::from(data.clone());
    match ty {
        ValueType::String | ValueType::Json => {
            StringArray::try_new(offsets.clone(), data, nulls).ok().map(|array| Arc::new(array) as ArrayRef)
        }
        ValueType::Bytes => BinaryArray::try_new(offsets.clone(), data, nulls).ok().map(|array| Arc::new(array) as ArrayRef),
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
mod tests {
    use super::super::gather::{Piece, gather};
    use super::*;
    use arrow_array::cast::AsArray;
    use proptest::prelude::*;

    fn page(values: Values, present: Vec<bool>) -> ColumnPage {
        ColumnPage { present: Some(NullBuffer::from(present)), values, exceptions: Default::default(), memo: Default::default() }
    }

    /// These rows, each range a piece.
    fn rows_of(column: &Column, ty: ValueType, ranges: &[Range<usize>]) -> Result<ArrayRef, usize> {
        if let Some((row, _)) = ranges.iter().find_map(|rows| column.bad_row(rows)) {
            return Err(*row);
        }
        let pieces: Vec<_> = ranges.iter().map(|rows| Piece { column, rows: rows.clone() }).collect();
        Ok(gather(&arrow_type(ty), &pieces, ranges.iter().map(Range::len).sum()).unwrap())
    }

    fn one_by_one(page: &ColumnPage, ty: ValueType, ranges: &[Range<usize>]) -> Result<ArrayRef, usize> {
        let mut cells = Cells::new(ty);
        for row in ranges.iter().cloned().flatten() {
            if page.is_present(row) {
                let push = |value: &[u8]| {
                    cells.push(value);
                    Ok(())
                };
                with_value(page, row, push).map_err(|_| row)?;
            } else {
                cells.push_null();
            }
            if !cells.bad.is_empty() {
                return Err(row);
            }
        }
        match cells.finish().form {
            Form::Plain(array) => Ok(array),
            _ => unreachable!("cells are built into an array"),
        }
    }

    /// Values of each kind, with rows to pick.
    fn pages() -> impl Strategy<Value = (ColumnPage, Vec<Range<usize>>)> {
        let item = || (any::<bool>(), 0i64..4, "[aé]{0,3}");
        prop::collection::vec(item(), 1..20).prop_flat_map(|items| {
            let present: Vec<_> = items.iter().map(|i| i.0).collect();
            let number = |i: &(bool, i64, String)| if i.0 { i.1 } else { 0 };
            let fixed = Values::Fixed8(items.iter().map(number).collect::<Vec<_>>().into());
            let bools = Values::Bool(items.iter().map(|i| i.0 && i.1 > 1).collect::<Vec<_>>().into());
            let text = |i: &(bool, i64, String)| if i.0 { i.2.clone() } else { String::new() };
            let texts: Vec<_> = items.iter().map(text).collect();
            let var = Values::Var { offsets: OffsetBuffer::from_lengths(texts.iter().map(String::len)), data: texts.concat().into() };
            let dict = |entries: [&str; 4]| Values::Dict {
                codes: items.iter().map(|i| number(i) as u32).collect::<Vec<_>>().into(),
                offsets: OffsetBuffer::from_lengths(entries.iter().map(|e| e.len())),
                data: entries.concat().into(),
            };
            const LONG: &str = "longer than what is copied at once";
            let (short, first, last) = (dict(["x", "", "éé", "z"]), dict([LONG, "", "éé", "z"]), dict(["x", "éé", "", LONG]));
            let len = items.len();
            let values = prop::sample::select(vec![fixed, bools, var, short, first, last]);
            let range = (0..=len, 0..=len).prop_map(|(a, b)| a.min(b)..a.max(b));
            (values, prop::collection::vec(range, 1..5)).prop_map(move |(values, rows)| (page(values, present.clone()), rows))
        })
    }

    proptest! {
        #[test]
        fn whole_pages_become_what_their_cells_become((page, ranges) in pages()) {
            for ty in ValueType::ALL {
                let expected = one_by_one(&page, ty, &ranges);
                for column in [&Column::of_page(&page, ty), &*Column::shared(&page, ty), &*Column::shared(&page, ty)] {
                    let got = rows_of(column, ty, &ranges);
                    prop_assert_eq!(&got, &expected, "{}", ty);
                }
            }
        }
    }

    #[test]
    fn an_absent_column_is_null() {
        for ty in ValueType::ALL {
            let array = rows_of(&Column::ABSENT, ty, std::slice::from_ref(&(3..5))).unwrap();
            assert_eq!((array.len(), array.null_count(), array.data_type()), (2, 2, &arrow_type(ty)));
        }
    }

    #[test]
    fn a_code_outside_its_dictionary_is_damage() {
        let codes = vec![0, 7].into();
        let page = ColumnPage {
            present: None,
            values: Values::Dict { codes, offsets: OffsetBuffer::from_lengths([1]), data: Bytes::from_static(b"a") },
            exceptions: Default::default(),
            memo: Default::default(),
        };
        let column = Column::of_page(&page, ValueType::String);
        assert_eq!(rows_of(&column, ValueType::String, std::slice::from_ref(&(0..2))).unwrap_err(), 1);
        let good = rows_of(&column, ValueType::String, std::slice::from_ref(&(0..1))).unwrap();
        assert_eq!(good.as_string::<i32>().value(0), "a");
    }
}
