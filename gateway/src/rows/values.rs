//! Single typed values in JSON and in plain text (query parameters, CSV).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use common::time::Micros;
use common::value::{Value, ValueType};
use serde_json::value::RawValue;
use std::fmt::Write;

/// Longer values are cut in messages.
const SHOWN: usize = 80;
/// Whole numbers up to here are exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Standard base64, read with or without padding.
pub(crate) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The value of type `ty` in a JSON text; null is no value.
///
/// # Errors
/// A sentence that quotes the text and says what to write.
pub fn from_json(ty: ValueType, json: &RawValue) -> Result<Option<Value>, String> {
    let text = json.get();
    if text == "null" {
        return Ok(None);
    }
    let wrong = || format!("{} is not a {ty}: write {}", shown(text), expected(ty, text));
    let value = match (ty, text.as_bytes().first()) {
        (ValueType::Json, _) => Some(Value::Json(text.to_owned())),
        (_, Some(b'"')) => return string(ty, text).map(Some),
        (ValueType::Bool, _) => serde_json::from_str(text).ok().map(Value::Bool),
        (ValueType::Int64, Some(b'-' | b'0'..=b'9')) => integer(text).map(Value::Int64),
        // Not by serde_json, whose floats may be off in the last bit.
        (ValueType::Float64, Some(b'-' | b'0'..=b'9')) => text.parse().ok().map(Value::Float64),
        _ => None,
    };
    value.map(Some).ok_or_else(wrong)
}

/// What a JSON string is as a value of type `ty`.
fn string(ty: ValueType, text: &str) -> Result<Value, String> {
    let wrong = || format!("{} is not a {ty}: write {}", shown(text), expected(ty, text));
    let inner: String = serde_json::from_str(text).map_err(|_| wrong())?;
    match ty {
        // 64-bit ids travel as strings of digits.
        ValueType::Int64 => inner.parse().map(Value::Int64).map_err(|_| wrong()),
        ValueType::Float64 => unwritable(&inner).map(Value::Float64).ok_or_else(wrong),
        ValueType::Bool => Err(wrong()),
        _ => from_text(ty, &inner),
    }
}

/// Floats that JSON numbers cannot be.
fn unwritable(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// An integer, also one written as `3.0` or `1e3`.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        let float: f64 = text.parse().ok()?;
        (float.fract() == 0.0 && float.abs() < EXACT).then_some(float as i64)
    })
}

/// The value of type `ty` in a text without quotes.
///
/// # Errors
/// A sentence that quotes the text and says what to write.
pub fn from_text(ty: ValueType, text: &str) -> Result<Value, String> {
    let wrong = || format!("'{}' is not a {ty}: write {}", shown(text), expected(ty, text));
    Ok(match ty {
        ValueType::String => Value::String(text.to_owned()),
        ValueType::Int64 => Value::Int64(integer(text).ok_or_else(wrong)?),
        ValueType::Float64 => Value::Float64(text.parse().ok().or_else(|| unwritable(text)).ok_or_else(wrong)?),
        ValueType::Bool => Value::Bool(text.parse().map_err(|_| wrong())?),
        ValueType::Timestamp => Value::Timestamp(Micros::parse(text)?),
        ValueType::Date => Value::Date(date(text).ok_or_else(wrong)?),
        ValueType::Bytes => Value::Bytes(BASE64.decode(text).map_err(|_| wrong())?.into()),
        ValueType::Json => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| wrong())?;
            Value::Json(text.trim().to_owned())
        }
    })
}

fn date(text: &str) -> Option<i32> {
    let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(chrono::NaiveDate::default()).num_days()).ok()
}

/// What should stand in the place of `found`.
fn expected(ty: ValueType, found: &str) -> &'static str {
    let number = found.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match ty {
        ValueType::Int64 => "a whole number within 64 bits, as in 42",
        ValueType::Float64 => "a number, as in 1.5",
        ValueType::String => "text in quotes",
        ValueType::Bool => "true or false",
        ValueType::Timestamp if number => "RFC 3339 as in \"2026-01-31T12:00:00Z\" (for numbers of a unit of your own, declare int64)",
        ValueType::Timestamp => "RFC 3339, as in \"2026-01-31T12:00:00Z\"",
        ValueType::Date => "a day, as in \"2026-01-31\"",
        ValueType::Bytes => "base64 in quotes",
        ValueType::Json => "a JSON document",
    }
}

/// A text for messages: cut if it is long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}… ({} bytes)", &text[..cut], text.len()),
        None => text.to_owned(),
    }
}

/// Appends a value as JSON.
pub fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Int64(n) => _ = write!(out, "{n}"),
        Value::Bool(b) => _ = write!(out, "{b}"),
        Value::Float64(f) => write_float(*f, out),
        Value::String(s) => write_string(s, out),
        Value::Json(s) if is_json(s) => out.push_str(s),
        // Written by a client that knows no schema.
        Value::Json(s) => write_string(s, out),
        Value::Timestamp(t) => write_string(&t.to_rfc3339(), out),
        Value::Date(d) => write_string(&day(*d), out),
        Value::Bytes(b) => write_string(&BASE64.encode(b), out),
    }
}

/// Appends a float so that it reads back as the same; what JSON has no number for is a string.
pub(crate) fn write_float(f: f64, out: &mut String) {
    match f {
        f if f.is_nan() => out.push_str("\"NaN\""),
        f if f.is_infinite() => out.push_str(if f > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
        f => _ = write!(out, "{f:?}"),
    }
}

/// Appends a JSON string.
pub(crate) fn write_string(text: &str, out: &mut String) {
    let quoted = serde_json::to_string(text).expect("text always has a JSON form");
    out.push_str(&quoted);
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01; `…d` outside the calendar.
pub(crate) fn day(days: i32) -> String {
    let date = chrono::NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(i64::from(days)));
    date.map_or_else(|| format!("{days}d"), |d| d.format("%Y-%m-%d").to_string())
}

/// Whether a text is one JSON document.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
