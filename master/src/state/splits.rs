use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::key::KeyRange;
use common::schema::{KeyPart, Table};
use common::time::Micros;
use common::value::{Value, ValueType};
use common::{Error, Result, version};
use serde_json::Value as Json;

/// Tablets that a new table may begin with: each costs its server a memtable and a manifest.
const MAX_TABLETS: usize = 1_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// The ranges of a new table's tablets: the key space cut at the spec's `split_at`.
///
/// # Errors
/// `InvalidArgument`, naming the prefix and the key part.
pub(super) fn ranges(table: &Table) -> Result<Vec<KeyRange>> {
    let splits = &table.spec.split_at;
    let wrong = |e: Error| e.context(format!("table '{}': split_at", table.name));
    if splits.len() >= MAX_TABLETS {
        return Err(wrong(Error::invalid(format!("{} prefixes; at most {} are allowed", splits.len(), MAX_TABLETS - 1))));
    }
    let mut keys = Vec::new();
    for split in splits {
        let key = prefix(table, split).map_err(|e| wrong(e.context(Json::from(split.clone()))))?;
        keys.push(bytes::Bytes::from(key));
    }
    keys.sort_unstable();
    if keys.windows(2).any(|w| w[0] == w[1]) {
        return Err(wrong(Error::invalid("a prefix is given twice")));
    }
    Ok(version::cut(&keys))
}

fn prefix(table: &Table, values: &[Json]) -> Result<Vec<u8>> {
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
