//! Single values of cells, and what to say of those that are not of their column's type.

use common::key::PartRef;
use common::schema::Table;
use common::value::ValueType;
use common::{Error, Result};

/// The value of type `ty` in a cell's bytes.
///
/// # Errors
/// `Corrupt` if it is not one.
pub(super) fn cell_ref(ty: ValueType, cell: &[u8]) -> Result<PartRef<'_>> {
    Ok(match ty {
        ValueType::Int64 | ValueType::Timestamp => PartRef::Int(i64::from_be_bytes(eight(cell, ty.name())?)),
        ValueType::Date => PartRef::Int(i64::from(day(i64::from_be_bytes(eight(cell, ty.name())?))?)),
        ValueType::Float64 => PartRef::Float(f64::from_be_bytes(eight(cell, ty.name())?)),
        ValueType::Bool => PartRef::Bool(flag(cell)?),
        ValueType::String | ValueType::Json => PartRef::Text(text(cell)?),
        ValueType::Bytes => PartRef::Bytes(cell),
    })
}

pub(super) fn eight(cell: &[u8], ty: &str) -> Result<[u8; 8]> {
    cell.try_into().map_err(|_| Error::corrupt(format!("a value of {} bytes is not a {ty}", cell.len())))
}

pub(super) fn day(days: i64) -> Result<i32> {
    i32::try_from(days).map_err(|_| Error::corrupt(format!("{days} days since 1970 are not a date")))
}

pub(super) fn flag(cell: &[u8]) -> Result<bool> {
    match cell {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Error::corrupt(format!("a value of {} bytes is not a bool", cell.len()))),
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes).map_err(|e| Error::corrupt(format!("{} bytes are not text: {e}", bytes.len())))
}

pub(super) fn lacks_prefix(table: &Table, key: &[u8]) -> Error {
    let first = table.key.first().map_or(Table::ROW_KEY, |p| p.name.as_str());
    wrong(table, first, key, &Error::corrupt("the key lacks its table's prefix"))
}

/// An error that names table, column and key.
pub(super) fn wrong(table: &Table, column: &str, key: &[u8], e: &Error) -> Error {
    Error::new(e.kind, format!("table '{}', column '{column}', row {}: {}", table.name, show_key(table, key), e.message))
}

/// A row key as people know it: its parts, or its bytes if it has none or does not decode.
fn show_key(table: &Table, key: &[u8]) -> String {
    match table.key_schema().decode(key) {
        Ok(values) if !values.is_empty() => {
            let part = |(part, value): (&common::schema::KeyPart, _)| format!("{}={value:?}", part.name);
            table.key.iter().zip(values).map(part).collect::<Vec<_>>().join(", ")
        }
        _ => format!("'{}'", key.escape_ascii()),
    }
}
