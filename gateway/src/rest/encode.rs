//! Arrow values as JSON and CSV.
//!
//! Times are RFC 3339, bytes base64, JSON columns and undeclared attributes the JSON that they are.

use crate::rows::values::{BASE64, day, is_json, write_float, write_string};
use base64::Engine;
use chrono::{DateTime, SecondsFormat};
use common::time::Micros;
use common::{Error, Result, schema};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, Float32Type, Float64Type, Schema, TimeUnit, TimestampMicrosecondType};
use datafusion::arrow::datatypes::{TimestampNanosecondType, TimestampSecondType};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;

/// What a column is to clients: a type of table schemas, where there is one.
pub fn type_name(field: &Field) -> String {
    match field.data_type() {
        _ if schema::is_json(field) => "json".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        ty if ty.is_integer() => "int64".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "float64".into(),
        DataType::Boolean => "bool".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Date32 => "date".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "bytes".into(),
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => format!("list of {}", type_name(inner)),
        DataType::Map(..) => "map".into(),
        other => other.to_string().to_lowercase(),
    }
}

/// Appends one row a line, as objects.
pub fn ndjson(batch: &RecordBatch, out: &mut String) -> Result<()> {
    let schema = batch.schema();
    let columns = columns(batch)?;
    for row in 0..batch.num_rows() {
        out.push('{');
        for (i, column) in columns.iter().enumerate() {
            out.push_str(if i > 0 { "," } else { "" });
            write_string(schema.field(i).name(), out);
            out.push(':');
            write_json(column, schema.field(i), row, out)?;
        }
        out.push_str("}\n");
    }
    Ok(())
}

/// Appends rows as arrays, each with a comma in front unless it is the `first`.
pub fn json_rows(batch: &RecordBatch, mut first: bool, out: &mut String) -> Result<()> {
    let schema = batch.schema();
    let columns = columns(batch)?;
    for row in 0..batch.num_rows() {
        out.push_str(if std::mem::take(&mut first) { "[" } else { ",[" });
        for (i, column) in columns.iter().enumerate() {
            out.push_str(if i > 0 { "," } else { "" });
            write_json(column, schema.field(i), row, out)?;
        }
        out.push(']');
    }
    Ok(())
}

/// Appends the line of names.
pub fn csv_header(schema: &Schema, out: &mut String) {
    for (i, field) in schema.fields().iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        csv_field(field.name(), out);
    }
    out.push('\n');
}

/// Appends one row a line; null is nothing, an empty text `""`.
pub fn csv(batch: &RecordBatch, out: &mut String) -> Result<()> {
    let schema = batch.schema();
    let columns = columns(batch)?;
    let mut json = String::new();
    for row in 0..batch.num_rows() {
        for (i, column) in columns.iter().enumerate() {
            out.push_str(if i > 0 { "," } else { "" });
            if is_null(column, row) {
                continue;
            }
            json.clear();
            write_json(column, schema.field(i), row, &mut json)?;
            // Texts lose their quotes, all else is as in JSON.
            match json.strip_prefix('"').filter(|_| !schema::is_json(schema.field(i))) {
                Some(_) => csv_field(&serde_json::from_str::<String>(&json).unwrap_or_default(), out),
                None => csv_field(&json, out),
            }
        }
        out.push('\n');
    }
    Ok(())
}

fn csv_field(text: &str, out: &mut String) {
    if text.is_empty() || text.contains(['"', ',', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

/// The columns, in types that are written directly.
fn columns(batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    batch.columns().iter().map(plain).collect()
}

fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    let to = match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        _ => return Ok(array.clone()),
    };
    let cast = cast(array, &to).map_err(|e| Error::internal(format!("a result column does not convert: {e}")))?;
    if cast.data_type() == array.data_type() { Ok(cast) } else { plain(&cast) }
}

fn write_json(array: &ArrayRef, field: &Field, row: usize, out: &mut String) -> Result<()> {
    if is_null(array, row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Utf8 => write_text(array.as_string::<i32>().value(row), schema::is_json(field), out),
        DataType::Float64 => write_float(array.as_primitive::<Float64Type>().value(row), out),
        DataType::Float32 => write_float(array.as_primitive::<Float32Type>().value(row).into(), out),
        DataType::Date32 => write_string(&day(array.as_primitive::<Date32Type>().value(row)), out),
        DataType::Timestamp(unit, _) => write_string(&time(array, *unit, row)?, out),
        DataType::Binary => write_string(&BASE64.encode(array.as_binary::<i32>().value(row)), out),
        DataType::List(inner) => write_list(&array.as_list::<i32>().value(row), inner, out)?,
        DataType::LargeList(inner) => write_list(&array.as_list::<i64>().value(row), inner, out)?,
        DataType::FixedSizeList(inner, _) => write_list(&array.as_fixed_size_list().value(row), inner, out)?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            out.push('{');
            for (i, (field, column)) in fields.iter().zip(columns).enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                write_string(field.name(), out);
                out.push(':');
                write_json(&plain(column)?, field, row, out)?;
            }
            out.push('}');
        }
        DataType::Map(..) => write_map(array, row, out)?,
        ty => {
            let text = formatted(array, row)?;
            // Numbers and booleans read the same in JSON.
            if ty.is_integer() || *ty == DataType::Boolean { out.push_str(&text) } else { write_string(&text, out) }
        }
    }
    Ok(())
}

/// An array of the type of null has no marks of its own.
fn is_null(array: &ArrayRef, row: usize) -> bool {
    array.is_null(row) || *array.data_type() == DataType::Null
}

fn formatted(array: &ArrayRef, row: usize) -> Result<String> {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(array, &options).map(|f| f.value(row).to_string());
    text.map_err(|e| Error::internal(format!("a value of type {} cannot be written: {e}", array.data_type())))
}

fn write_text(text: &str, json: bool, out: &mut String) {
    if json && is_json(text) { out.push_str(text) } else { write_string(text, out) }
}

fn write_list(values: &ArrayRef, field: &Arc<Field>, out: &mut String) -> Result<()> {
    let values = plain(values)?;
    out.push('[');
    for i in 0..values.len() {
        out.push_str(if i > 0 { "," } else { "" });
        write_json(&values, field, i, out)?;
    }
    out.push(']');
    Ok(())
}

/// A map as an object. Values of a map of text are undeclared attributes: JSON.
fn write_map(array: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
    let entries = array.as_map().value(row);
    let (keys, values) = (plain(entries.column(0))?, plain(entries.column(1))?);
    out.push('{');
    for i in 0..entries.len() {
        out.push_str(if i > 0 { "," } else { "" });
        match keys.data_type() {
            DataType::Utf8 => write_string(keys.as_string::<i32>().value(i), out),
            DataType::Binary => write_string(&String::from_utf8_lossy(keys.as_binary::<i32>().value(i)), out),
            _ => write_string(&formatted(&keys, i)?, out),
        }
        out.push(':');
        match (keys.data_type(), values.data_type()) {
            _ if values.is_null(i) => out.push_str("null"),
            (DataType::Utf8, DataType::Utf8) => write_text(values.as_string::<i32>().value(i), true, out),
            _ => write_json(&values, &Field::new("value", values.data_type().clone(), true), i, out)?,
        }
    }
    out.push('}');
    Ok(())
}

/// A time in UTC.
fn time(array: &ArrayRef, unit: TimeUnit, row: usize) -> Result<String> {
    let micros = match unit {
        TimeUnit::Nanosecond => {
            let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
            return Ok(DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true));
        }
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).saturating_mul(1_000_000),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Millisecond => return Err(Error::internal("a time in ms was not converted")),
    };
    Ok(Micros(micros).to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    async fn batches(sql: &str) -> Vec<RecordBatch> {
        let session = SessionContext::new();
        crate::sql::functions::register(&session).unwrap();
        session.sql(sql).await.unwrap().collect().await.unwrap()
    }

    #[tokio::test]
    async fn values_keep_their_kind() {
        let sql = r#"select 1 as i, 1.5 as f, 'a"b' as s, true as b, null as n, date '2016-02-29' as d,
            timestamp '2016-02-29T12:00:00.5' as t, x'00ff' as x, [1, null] as l, {'k': 'v'} as o, map {'a': 2} as m,
            map {'a': '{"x": 1.50}'} as j, cast(1.10 as decimal(5, 2)) as c, arrow_cast('v', 'Utf8View') as v"#;
        let mut out = String::new();
        ndjson(&batches(sql).await[0], &mut out).unwrap();
        assert_eq!(
            out,
            "{\"i\":1,\"f\":1.5,\"s\":\"a\\\"b\",\"b\":true,\"n\":null,\"d\":\"2016-02-29\",\"t\":\"2016-02-29T12:00:00.500Z\",\"x\":\"AP8=\",\"l\":[1,null],\"o\":{\"k\":\"v\"},\"m\":{\"a\":2},\"j\":{\"a\":{\"x\": 1.50}},\"c\":\"1.10\",\"v\":\"v\"}\n"
        );
    }

    #[tokio::test]
    async fn csv_quotes_what_it_must() {
        let batch = &batches(r#"select 'a,"b"' as "x,y", '' as e, null as n, 1.5 as f, [1, 2] as l"#).await[0];
        let mut out = String::new();
        csv_header(&batch.schema(), &mut out);
        csv(batch, &mut out).unwrap();
        assert_eq!(out, "\"x,y\",e,n,f,l\n\"a,\"\"b\"\"\",\"\",,1.5,\"[1,2]\"\n");
    }
}
