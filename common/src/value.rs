//! Typed values and their encodings in cells.
//!
//! Cell encodings are Bigtable's: int64, timestamp (µs) and date (days) 8 bytes big-endian,
//! float64 8 bytes big-endian, string and json UTF-8, bool 1 byte, bytes as they are.

use crate::time::Micros;
use crate::{Error, Result};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a key part or a declared column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// 64-bit signed integer.
    Int64,
    /// IEEE 754 double.
    Float64,
    /// UTF-8 text.
    String,
    /// True or false.
    Bool,
    /// An instant, µs since the Unix epoch, UTC.
    Timestamp,
    /// A calendar day, days since 1970-01-01.
    Date,
    /// Raw bytes; base64 in JSON.
    Bytes,
    /// A JSON document, kept as its text.
    Json,
}

impl ValueType {
    /// All types, in the order of documentation.
    pub const ALL: [Self; 8] = [Self::Int64, Self::Float64, Self::String, Self::Bool, Self::Timestamp, Self::Date, Self::Bytes, Self::Json];

    /// The name used in schemas.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Bool => "bool",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Bytes => "bytes",
            Self::Json => "json",
        }
    }

    /// The type of this name.
    ///
    /// # Errors
    /// `InvalidArgument`, listing the names.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|t| t.name()).collect();
            Error::invalid(format!("unknown type '{name}': write one of {}", names.join(", ")))
        })
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A typed value; absent values are `Option::None` around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// See [`ValueType::Int64`].
    Int64(i64),
    /// See [`ValueType::Float64`].
    Float64(f64),
    /// See [`ValueType::String`].
    String(String),
    /// See [`ValueType::Bool`].
    Bool(bool),
    /// See [`ValueType::Timestamp`].
    Timestamp(Micros),
    /// See [`ValueType::Date`].
    Date(i32),
    /// See [`ValueType::Bytes`].
    Bytes(Bytes),
    /// See [`ValueType::Json`].
    Json(String),
}

impl Value {
    /// This value's type.
    #[must_use]
    pub const fn ty(&self) -> ValueType {
        match self {
            Self::Int64(_) => ValueType::Int64,
            Self::Float64(_) => ValueType::Float64,
            Self::String(_) => ValueType::String,
            Self::Bool(_) => ValueType::Bool,
            Self::Timestamp(_) => ValueType::Timestamp,
            Self::Date(_) => ValueType::Date,
            Self::Bytes(_) => ValueType::Bytes,
            Self::Json(_) => ValueType::Json,
        }
    }

    /// The cell bytes of this value.
    #[must_use]
    pub fn to_cell(&self) -> Bytes {
        match self {
            Self::Int64(n) => Bytes::copy_from_slice(&n.to_be_bytes()),
            Self::Float64(f) => Bytes::copy_from_slice(&f.to_be_bytes()),
            Self::Timestamp(t) => Bytes::copy_from_slice(&t.0.to_be_bytes()),
            Self::Date(d) => Bytes::copy_from_slice(&i64::from(*d).to_be_bytes()),
            Self::Bool(b) => Bytes::copy_from_slice(&[u8::from(*b)]),
            Self::String(s) | Self::Json(s) => Bytes::copy_from_slice(s.as_bytes()),
            Self::Bytes(b) => b.clone(),
        }
    }

    /// The value of type `ty` in cell bytes. A one-byte integer or an empty value may have been
    /// written by a client that knows no schema: what does not fit the type is an error, never a guess.
    ///
    /// # Errors
    /// `Corrupt`, naming the type and the length.
    pub fn from_cell(ty: ValueType, cell: &Bytes) -> Result<Self> {
        let wrong = || Error::corrupt(format!("a cell of {} bytes is not a {ty}", cell.len()));
        let eight = || <[u8; 8]>::try_from(cell.as_ref()).map_err(|_| wrong());
        let text = || String::from_utf8(cell.to_vec()).map_err(|_| wrong());
        Ok(match ty {
            ValueType::Int64 => Self::Int64(i64::from_be_bytes(eight()?)),
            ValueType::Float64 => Self::Float64(f64::from_be_bytes(eight()?)),
            ValueType::Timestamp => Self::Timestamp(Micros(i64::from_be_bytes(eight()?))),
            ValueType::Date => Self::Date(i32::try_from(i64::from_be_bytes(eight()?)).map_err(|_| wrong())?),
            ValueType::Bool => match cell.as_ref() {
                [0] => Self::Bool(false),
                [1] => Self::Bool(true),
                _ => return Err(wrong()),
            },
            ValueType::String => Self::String(text()?),
            ValueType::Json => Self::Json(text()?),
            ValueType::Bytes => Self::Bytes(cell.clone()),
        })
    }

    /// Whether [`Self::from_cell`] would read the cell.
    ///
    /// # Errors
    /// As there.
    pub fn check_cell(ty: ValueType, cell: &Bytes) -> Result<()> {
        match ty {
            ValueType::String | ValueType::Json if std::str::from_utf8(cell).is_ok() => Ok(()),
            _ => Self::from_cell(ty, cell).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_decode_back_and_misfits_are_refused() {
        let values = [
            Value::Int64(-5),
            Value::Float64(1.5),
            Value::String("é".into()),
            Value::Bool(true),
            Value::Timestamp(Micros(7)),
            Value::Date(-1),
            Value::Bytes(Bytes::from_static(&[0, 255])),
            Value::Json("{\"a\":1}".into()),
        ];
        for v in values {
            assert_eq!(Value::from_cell(v.ty(), &v.to_cell()).unwrap(), v);
            Value::check_cell(v.ty(), &v.to_cell()).unwrap();
        }
        assert!(Value::from_cell(ValueType::Int64, &Bytes::from_static(b"7")).is_err());
        assert!(Value::from_cell(ValueType::String, &Bytes::from_static(&[0xFF])).is_err());
        assert!(Value::check_cell(ValueType::Json, &Bytes::from_static(&[0xFF])).is_err());
        assert!(Value::check_cell(ValueType::Bool, &Bytes::from_static(&[2])).is_err());
    }
}
