//! Tests of columns, held before a run publishes: most row by row, on what it would publish.

use arrow::array::{Array, ArrayRef, Scalar, StringArray};
use arrow::compute::kernels::cmp::{gt, lt};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use common::value::ValueType;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What must hold of a column in every row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowTest {
    /// It has a value.
    NotNull {
        /// The column.
        column: String,
    },
    /// No two rows have the same value, if they have one. A run holds it for the rows that it changes, against all others.
    Unique {
        /// The column.
        column: String,
    },
    /// Its value, if it has one, is one of these.
    AcceptedValues {
        /// The column.
        column: String,
        /// As SQL casts them to text.
        values: Vec<String>,
    },
    /// Its value, if it has one, lies between these, both included.
    Range {
        /// The column.
        column: String,
        /// As SQL casts text to the column's type.
        min: Option<String>,
        /// As `min`.
        max: Option<String>,
    },
}

impl fmt::Display for RowTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNull { column } => write!(f, "{column} is not null"),
            Self::Unique { column } => write!(f, "{column} is unique"),
            Self::AcceptedValues { column, values } => write!(f, "{column} is one of {}", values.join(", ")),
            Self::Range { column, min, max } => {
                let ends = [min.as_ref().map(|m| format!("at least {m}")), max.as_ref().map(|m| format!("at most {m}"))];
                write!(f, "{column} is {}", ends.into_iter().flatten().collect::<Vec<_>>().join(" and "))
            }
        }
    }
}

impl RowTest {
    /// How many rows of a batch fail it by themselves.
    ///
    /// # Errors
    /// `Internal` if the batch lacks the column.
    pub fn failures(&self, batch: &RecordBatch) -> Result<usize> {
        let find = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| Error::internal(format!("test '{self}': the result has no column '{name}'")))
        };
        match self {
            Self::NotNull { column } => Ok(find(column)?.null_count()),
            Self::Unique { .. } => Ok(0),
            Self::AcceptedValues { column, values } => {
                let text = cast_with_options(find(column)?, &DataType::Utf8, &CastOptions::default())
                    .map_err(|e| Error::internal(format!("test '{self}': {e}")))?;
                let text = text.as_any().downcast_ref::<StringArray>().ok_or_else(|| Error::internal("a cast to text gave no text"))?;
                Ok(text.iter().flatten().filter(|v| !values.iter().any(|w| w == v)).count())
            }
            Self::Range { column, min, max } => {
                let values = find(column)?;
                let wrong = |e: ArrowError| Error::internal(format!("test '{self}': {e}"));
                let mut outside = 0;
                if let Some(min) = min {
                    let min = literal(min, values.data_type()).map_err(Error::internal)?;
                    outside += lt(values, &min).map_err(wrong)?.true_count();
                }
                if let Some(max) = max {
                    let max = literal(max, values.data_type()).map_err(Error::internal)?;
                    outside += gt(values, &max).map_err(wrong)?.true_count();
                }
                Ok(outside)
            }
        }
    }

    /// Whether it can be asked of a column of this type.
    ///
    /// # Errors
    /// A sentence that says what cannot.
    pub fn check(&self, ty: ValueType) -> std::result::Result<(), String> {
        let Self::Range { min, max, .. } = self else { return Ok(()) };
        let ty = match ty {
            ValueType::Int64 => DataType::Int64,
            ValueType::Float64 => DataType::Float64,
            ValueType::String => DataType::Utf8,
            ValueType::Date => DataType::Date32,
            ValueType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return Err(format!("values of type {other} have no order")),
        };
        let ends = [min, max].map(|end| end.as_deref().map(|text| literal(text, &ty)).transpose());
        let [min, max] = ends;
        if let (Some(min), Some(max)) = (min?, max?)
            && gt(&min, &max).is_ok_and(|g| g.true_count() > 0)
        {
            return Err("min is greater than max".into());
        }
        Ok(())
    }
}

/// A text as a value of a type.
fn literal(text: &str, ty: &DataType) -> std::result::Result<Scalar<ArrayRef>, String> {
    let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let cast = cast_with_options(&array, ty, &CastOptions::default()).map_err(|e| format!("'{text}': {e}"))?;
    if cast.null_count() > 0 { Err(format!("'{text}' is not a {ty}")) } else { Ok(Scalar::new(cast)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int64Array};

    #[test]
    fn failing_rows_are_counted() {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let batch = RecordBatch::try_from_iter([("n", n)]).unwrap();
        assert_eq!(RowTest::NotNull { column: "n".into() }.failures(&batch).unwrap(), 1);
        let accepted = RowTest::AcceptedValues { column: "n".into(), values: vec!["1".into(), "2".into()] };
        assert_eq!(accepted.failures(&batch).unwrap(), 1);
        assert!(RowTest::NotNull { column: "m".into() }.failures(&batch).is_err());
    }

    #[test]
    fn a_range_includes_its_ends_and_nulls_pass() {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]));
        let day: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), Some(1), None, Some(3)]));
        let batch = RecordBatch::try_from_iter([("n", n), ("day", day)]).unwrap();
        let range = |column: &str, min: Option<&str>, max: Option<&str>| RowTest::Range {
            column: column.into(),
            min: min.map(str::to_owned),
            max: max.map(str::to_owned),
        };
        assert_eq!(range("n", Some("1"), Some("3")).failures(&batch).unwrap(), 1);
        assert_eq!(range("n", Some("2"), Some("3")).failures(&batch).unwrap(), 2);
        assert_eq!(range("day", Some("1970-01-02"), None).failures(&batch).unwrap(), 1);
        assert!(range("n", Some("x"), None).check(ValueType::Int64).unwrap_err().contains("'x'"));
        assert!(range("n", Some("2"), Some("1")).check(ValueType::Int64).unwrap_err().contains("greater"));
        assert!(range("n", Some("2"), None).check(ValueType::Json).is_err());
    }
}
