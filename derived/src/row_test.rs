//! Checks that hold row by row, run on what a run would publish.

use arrow::array::{Array, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What must hold of a column in every row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowTest {
    /// It has a value.
    NotNull {
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
}

impl fmt::Display for RowTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNull { column } => write!(f, "{column} is not null"),
            Self::AcceptedValues { column, values } => write!(f, "{column} is one of {}", values.join(", ")),
        }
    }
}

impl RowTest {
    /// How many rows of a batch fail it.
    ///
    /// # Errors
    /// `Internal` if the batch lacks the column.
    pub fn failures(&self, batch: &RecordBatch) -> Result<usize> {
        let find = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| Error::internal(format!("test '{self}': the result has no column '{name}'")))
        };
        match self {
            Self::NotNull { column } => Ok(find(column)?.null_count()),
            Self::AcceptedValues { column, values } => {
                let text = cast_with_options(find(column)?, &DataType::Utf8, &CastOptions::default())
                    .map_err(|e| Error::internal(format!("test '{self}': {e}")))?;
                let text = text.as_any().downcast_ref::<StringArray>().ok_or_else(|| Error::internal("a cast to text gave no text"))?;
                Ok(text.iter().flatten().filter(|v| !values.iter().any(|w| w == v)).count())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    #[test]
    fn failing_rows_are_counted() {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let batch = RecordBatch::try_from_iter([("n", n)]).unwrap();
        assert_eq!(RowTest::NotNull { column: "n".into() }.failures(&batch).unwrap(), 1);
        let accepted = RowTest::AcceptedValues { column: "n".into(), values: vec!["1".into(), "2".into()] };
        assert_eq!(accepted.failures(&batch).unwrap(), 1);
        assert!(RowTest::NotNull { column: "m".into() }.failures(&batch).is_err());
    }
}
