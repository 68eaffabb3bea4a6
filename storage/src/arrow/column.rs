//! One output column: an Arrow builder and how a key part or a cell goes into it.

use super::value::{day, eight, flag, text};
use arrow_array::ArrayRef;
use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, MapBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_schema::DataType;
use common::key::PartRef;
use common::{Error, Result};

/// A builder for one of the types that a table's Arrow schema has.
pub(super) enum ColumnBuilder {
    Int64(Int64Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Bytes(BinaryBuilder),
    /// Names as text, values as JSON text.
    Attributes(Box<MapBuilder<StringBuilder, StringBuilder>>),
    /// Names and values as bytes.
    Family(Box<MapBuilder<BinaryBuilder, BinaryBuilder>>),
}

impl ColumnBuilder {
    /// The builder of a type; see `common::schema::arrow_type` for the types there are.
    pub(super) fn of(ty: &DataType) -> Self {
        match ty {
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Timestamp(..) => Self::Time(TimestampMicrosecondBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            DataType::Map(entries, _) if has_text(entries.data_type()) => {
                Self::Attributes(Box::new(MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())))
            }
            DataType::Map(..) => Self::Family(Box::new(MapBuilder::new(None, BinaryBuilder::new(), BinaryBuilder::new()))),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    pub(super) fn push_part(&mut self, part: Option<PartRef<'_>>) -> Result<()> {
        match (self, part) {
            (any, None) => any.push_null(),
            (Self::Int64(b), Some(PartRef::Int(n))) => b.append_value(n),
            (Self::Time(b), Some(PartRef::Int(n))) => b.append_value(n),
            (Self::Date(b), Some(PartRef::Int(n))) => b.append_value(day(n)?),
            (Self::Float64(b), Some(PartRef::Float(f))) => b.append_value(f),
            (Self::Bool(b), Some(PartRef::Bool(v))) => b.append_value(v),
            (Self::Text(b), Some(PartRef::Text(s))) => b.append_value(s),
            (Self::Bytes(b), Some(PartRef::Bytes(v))) => b.append_value(v),
            (_, Some(part)) => return Err(Error::internal(format!("key part {part:?} does not fit its column"))),
        }
        Ok(())
    }

    pub(super) fn push_bytes(&mut self, value: &[u8]) -> Result<()> {
        match self {
            Self::Bytes(b) => b.append_value(value),
            _ => return Err(Error::internal("a column of another type is given bytes")),
        }
        Ok(())
    }

    pub(super) fn push_cell(&mut self, cell: &[u8]) -> Result<()> {
        match self {
            Self::Int64(b) => b.append_value(i64::from_be_bytes(eight(cell, "int64")?)),
            Self::Time(b) => b.append_value(i64::from_be_bytes(eight(cell, "timestamp")?)),
            Self::Date(b) => b.append_value(day(i64::from_be_bytes(eight(cell, "date")?))?),
            Self::Float64(b) => b.append_value(f64::from_be_bytes(eight(cell, "float64")?)),
            Self::Bool(b) => b.append_value(flag(cell)?),
            Self::Text(b) => b.append_value(text(cell)?),
            Self::Bytes(b) => b.append_value(cell),
            Self::Attributes(_) | Self::Family(_) => return Err(Error::internal("a map column is given a single cell")),
        }
        Ok(())
    }

    pub(super) fn push_entry(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Attributes(b) => {
                let (names, values) = b.entries();
                names.append_value(text(name)?);
                values.append_value(text(value)?);
            }
            Self::Family(b) => {
                let (names, values) = b.entries();
                names.append_value(name);
                values.append_value(value);
            }
            _ => return Err(Error::internal("a single column is given a map entry")),
        }
        Ok(())
    }

    /// Ends a row's map. A row without entries has null.
    pub(super) fn end_map(&mut self, any: bool) -> Result<()> {
        let ended = match self {
            Self::Attributes(b) => b.append(any),
            Self::Family(b) => b.append(any),
            _ => return Err(Error::internal("a single column is ended as a map")),
        };
        ended.map_err(|e| Error::internal(format!("map column: {e}")))
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Self::Int64(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::Text(b) => b.append_null(),
            Self::Bool(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Bytes(b) => b.append_null(),
            Self::Attributes(b) => b.append(false).expect("no entry was begun, so names and values are equally many"),
            Self::Family(b) => b.append(false).expect("no entry was begun, so names and values are equally many"),
        }
    }

    /// The array of all rows pushed since the last call.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let builder: &mut dyn ArrayBuilder = match self {
            Self::Int64(b) => b,
            Self::Float64(b) => b,
            Self::Text(b) => b,
            Self::Bool(b) => b,
            Self::Time(b) => b,
            Self::Date(b) => b,
            Self::Bytes(b) => b,
            Self::Attributes(b) => b.as_mut(),
            Self::Family(b) => b.as_mut(),
        };
        builder.finish()
    }
}

fn has_text(entries: &DataType) -> bool {
    matches!(entries, DataType::Struct(fields) if fields.first().is_some_and(|f| *f.data_type() == DataType::Utf8))
}
