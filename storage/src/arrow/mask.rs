//! Which rows of a block pass a test: on whole arrays.

use super::check::{Check, Condition, total_order};
use super::page::{Column, Form};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_schema::DataType;
use common::{Error, Result};

/// Which of a column's `rows` rows pass.
pub(super) fn mask_column(check: &Check, column: &Column, rows: usize) -> Result<BooleanBuffer> {
    match &column.form {
        Form::Eights { values, nulls } => eights(check, values, nulls.as_ref()),
        Form::Text(array) => mask(check, array),
        Form::Plain(array) => mask(check, array),
        Form::Absent => Ok(all(*check == Check::Null(true), rows)),
        Form::Dict { entries, codes } => {
            if let Check::Null(wanted) = check {
                return Ok(nulls(*wanted, codes.nulls(), rows));
            }
            // Each entry once, then the rows by their codes.
            let passing = mask(check, entries)?;
            let codes_pass = BooleanBuffer::collect_bool(codes.len(), |row| passing.value(codes.values()[row] as usize));
            Ok(present(codes_pass, codes.nulls()))
        }
    }
}

/// Which values of an array pass.
pub(super) fn mask(check: &Check, array: &dyn Array) -> Result<BooleanBuffer> {
    let len = array.len();
    let passing = match (check, array.data_type()) {
        (Check::Null(wanted), _) => return Ok(nulls(*wanted, array.nulls(), len)),
        (Check::Int(c), DataType::Int64) => numbers(c, array.as_primitive::<Int64Type>().values()),
        (Check::Int(c), DataType::Timestamp(..)) => numbers(c, array.as_primitive::<TimestampMicrosecondType>().values()),
        (Check::Int(c), DataType::Date32) => {
            let days = array.as_primitive::<Date32Type>().values();
            c.mask(len, |i| i64::from(days[i]))
        }
        (Check::Float(c), DataType::Float64) => {
            let floats = array.as_primitive::<Float64Type>().values();
            c.mask(len, |i| total_order(floats[i]))
        }
        (Check::Bool(c), DataType::Boolean) => {
            let bools = array.as_boolean().values();
            c.mask(len, |i| bools.value(i))
        }
        (Check::Bytes(c), DataType::Utf8) => {
            let texts = array.as_string::<i32>();
            BooleanBuffer::collect_bool(len, |i| c.accepts_by(|v| texts.value(i).as_bytes().cmp(v)))
        }
        (Check::Bytes(c), DataType::Binary) => {
            let values = array.as_binary::<i32>();
            BooleanBuffer::collect_bool(len, |i| c.accepts_by(|v| values.value(i).cmp(v.as_slice())))
        }
        (check, ty) => return Err(Error::internal(format!("a test {check:?} on an array of {ty}"))),
    };
    Ok(present(passing, array.nulls()))
}

/// Which values of 8 bytes pass: the check says what they are.
fn eights(check: &Check, values: &Buffer, nulls: Option<&NullBuffer>) -> Result<BooleanBuffer> {
    let passing = match check {
        Check::Null(wanted) => return Ok(self::nulls(*wanted, nulls, values.typed_data::<i64>().len())),
        Check::Int(c) => numbers(c, values.typed_data()),
        Check::Float(c) => {
            let floats = values.typed_data::<f64>();
            c.mask(floats.len(), |i| total_order(floats[i]))
        }
        check => return Err(Error::internal(format!("a test {check:?} on values of 8 bytes"))),
    };
    Ok(present(passing, nulls))
}

fn numbers(condition: &Condition<i64>, values: &[i64]) -> BooleanBuffer {
    condition.mask(values.len(), |i| values[i])
}

/// Null passes no test but the one for it.
fn present(passing: BooleanBuffer, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    match nulls {
        Some(nulls) => &passing & nulls.inner(),
        None => passing,
    }
}

fn nulls(wanted: bool, nulls: Option<&NullBuffer>, rows: usize) -> BooleanBuffer {
    match nulls {
        Some(nulls) if wanted => !nulls.inner(),
        Some(nulls) => nulls.inner().clone(),
        None => all(!wanted, rows),
    }
}

pub(super) fn all(value: bool, rows: usize) -> BooleanBuffer {
    if value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) }
}
