//! One column of a query's output as typed values.

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Field, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::json::writer::{EncoderOptions, make_encoder};
use bytes::Bytes;
use common::schema::arrow_type;
use common::time::Micros;
use common::value::{Value, ValueType};
use common::{Error, Result};
use std::sync::Arc;

/// An output column, cast to what its target stores.
pub struct TypedColumn {
    ty: ValueType,
    array: ArrayRef,
}

impl TypedColumn {
    /// The column of this name, cast to `ty`.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the column, if it is missing or as [`Self::cast`].
    pub fn of(batch: &RecordBatch, name: &str, ty: ValueType, first_row: usize) -> Result<Self> {
        let array = batch.column_by_name(name).ok_or_else(|| {
            let has: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
            Error::invalid(format!("the query gives no column '{name}'; it gives {}", has.join(", ")))
        })?;
        Self::cast(array, ty, first_row).map_err(|e| e.context(format!("column '{name}'")))
    }

    /// Casts `array` to `ty`. `first_row` is the number of its first row, for messages.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the row and the value that does not fit.
    pub fn cast(array: &ArrayRef, ty: ValueType, first_row: usize) -> Result<Self> {
        let array = match array.data_type() {
            from if *from == arrow_type(ty) => Arc::clone(array),
            nested if ty == ValueType::Json && nested.is_nested() => to_json(array)?,
            _ => cast_rows(array, ty, first_row)?,
        };
        Ok(Self { ty, array })
    }

    /// The value in `row`, counted within this batch.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<Value> {
        if self.array.is_null(row) {
            return None;
        }
        Some(match self.ty {
            ValueType::Int64 => Value::Int64(self.array.as_primitive::<Int64Type>().value(row)),
            ValueType::Float64 => Value::Float64(self.array.as_primitive::<Float64Type>().value(row)),
            ValueType::String => Value::String(self.array.as_string::<i32>().value(row).to_owned()),
            ValueType::Json => Value::Json(self.array.as_string::<i32>().value(row).to_owned()),
            ValueType::Bool => Value::Bool(self.array.as_boolean().value(row)),
            ValueType::Timestamp => Value::Timestamp(Micros(self.array.as_primitive::<TimestampMicrosecondType>().value(row))),
            ValueType::Date => Value::Date(self.array.as_primitive::<Date32Type>().value(row)),
            ValueType::Bytes => Value::Bytes(Bytes::copy_from_slice(self.array.as_binary::<i32>().value(row))),
        })
    }
}

/// A cast that can name the first row that does not fit.
fn cast_rows(array: &ArrayRef, ty: ValueType, first_row: usize) -> Result<ArrayRef> {
    let lossy = CastOptions { safe: true, ..CastOptions::default() };
    let wrong = |e| Error::invalid(format!("{} does not turn into {ty}: {e}", array.data_type()));
    let cast = cast_with_options(array, &arrow_type(ty), &lossy).map_err(wrong)?;
    if cast.null_count() == array.logical_null_count() {
        return Ok(cast);
    }
    let nulls = array.logical_nulls();
    let was_null = |row: usize| nulls.as_ref().is_some_and(|n| n.is_null(row));
    match (0..array.len()).find(|&row| cast.is_null(row) && !was_null(row)) {
        None => Ok(cast),
        Some(row) => {
            let value = arrow::util::display::array_value_to_string(array, row).unwrap_or_else(|_| "?".into());
            Err(Error::invalid(format!("row {}: '{value}' does not fit into {ty}", first_row + row)))
        }
    }
}

/// Lists, structs and maps as JSON text. A map of text to text is one of undeclared attributes: its values are JSON already.
fn to_json(array: &ArrayRef) -> Result<ArrayRef> {
    if let DataType::Map(entries, _) = array.data_type()
        && let DataType::Struct(fields) = entries.data_type()
        && fields.iter().all(|f| *f.data_type() == DataType::Utf8)
    {
        return Ok(Arc::new(attributes_to_json(array.as_map())));
    }
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let field = Arc::new(Field::new("value", array.data_type().clone(), true));
    let mut encoder =
        make_encoder(&field, array, &options).map_err(|e| Error::invalid(format!("{} does not turn into json: {e}", array.data_type())))?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let mut text = Vec::new();
        if !array.is_null(row) {
            encoder.encode(row, &mut text);
        }
        let text = String::from_utf8(text).map_err(|_| Error::internal("a JSON encoder wrote what is not UTF-8"))?;
        texts.push((!array.is_null(row)).then_some(text));
    }
    Ok(Arc::new(StringArray::from(texts)))
}

fn attributes_to_json(map: &MapArray) -> StringArray {
    let one = |row: usize| {
        let entries = map.value(row);
        let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
        let member = |i: usize| {
            let value = if values.is_null(i) { "null" } else { values.value(i) };
            format!("{}:{value}", serde_json::Value::from(keys.value(i)))
        };
        format!("{{{}}}", (0..entries.len()).map(member).collect::<Vec<_>>().join(","))
    };
    (0..map.len()).map(|row| (!map.is_null(row)).then(|| one(row))).collect()
}
