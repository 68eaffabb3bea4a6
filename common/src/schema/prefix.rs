//! Row key prefixes as people write them.

use super::{KeyPart, Table};
use crate::time::Micros;
use crate::value::{Value, ValueType};
use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

const DAY_MICROS: i64 = 86_400_000_000;

/// The beginning of row keys that first key part values in JSON stand for: where tables are cut.
///
/// # Errors
/// `InvalidArgument`, naming the key part.
pub(super) fn encode(table: &Table, values: &[Json]) -> Result<Vec<u8>> {
    if let ([], [Json::String(raw)]) = (table.key.as_slice(), values)
        && !raw.is_empty()
    {
        return Ok(raw.as_bytes().to_vec());
    }
    if table.key.is_empty() {
        return Err(Error::invalid("a table without key parts is split at one text a prefix, the beginning of its row keys"));
    }
    if values.is_empty() {
        return Err(Error::invalid("a prefix needs at least one key part value"));
    }
    let typed = table.key.iter().zip(values).map(|(part, value)| typed(part, value)).collect::<Result<Vec<_>>>()?;
    if values.len() > table.key.len() {
        return Err(Error::invalid(format!("{} key values for {} key parts", values.len(), table.key.len())));
    }
    table.key_schema().encode_prefix(&typed)
}

fn typed(part: &KeyPart, value: &Json) -> Result<Option<Value>> {
    let ty = part.codec.ty;
    let wrong = || Error::invalid(format!("key part '{}': {value} is not a {ty}", part.name));
    let time = |text: &str| Micros::parse(text).map_err(|e| Error::invalid(format!("key part '{}': {e}", part.name)));
    Ok(Some(match (ty, value) {
        (_, Json::Null) => return Ok(None),
        (ValueType::Int64, Json::Number(n)) => Value::Int64(n.as_i64().ok_or_else(wrong)?),
        (ValueType::Float64, Json::Number(n)) => Value::Float64(n.as_f64().ok_or_else(wrong)?),
        (ValueType::Bool, Json::Bool(b)) => Value::Bool(*b),
        (ValueType::String, Json::String(s)) => Value::String(s.clone()),
        (ValueType::Timestamp, Json::String(s)) => Value::Timestamp(time(s)?),
        (ValueType::Date, Json::String(s)) => Value::Date(i32::try_from(time(s)?.0.div_euclid(DAY_MICROS)).map_err(|_| wrong())?),
        (ValueType::Json, any) => Value::Json(any.to_string()),
        (ValueType::Bytes, Json::String(s)) => Value::Bytes(BASE64.decode(s).map_err(|_| wrong())?.into()),
        _ => return Err(wrong()),
    }))
}
