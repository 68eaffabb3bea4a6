use super::part::order;
use common::value::{Value, ValueType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the values of one column fold. "Earlier" and "later" are by window, and within a window by
/// `order_by`, then by the rows' values. Null counts as no value but for `latest` and `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// That of the last row, null included.
    Latest,
    /// That of the first row, null included.
    First,
    /// The latest that is not null.
    Coalesce,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The sum; of integers it stops at the type's limits.
    Sum,
    /// How many are not null.
    Count,
}

/// A merge: its key, and a rule for each other published column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRules {
    /// The columns that make a row one.
    pub key: Vec<String>,
    /// Orders rows of one key within a window.
    pub order_by: Option<String>,
    /// The published columns besides the key.
    pub columns: Vec<MergeColumn>,
}

/// A published column of a merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeColumn {
    /// Its name, also in the SQL's result.
    pub name: String,
    /// How it folds.
    pub rule: Rule,
}

impl Rule {
    /// Whether it means nothing without `order_by`.
    #[must_use]
    pub fn needs_order(self) -> bool {
        matches!(self, Self::Latest | Self::First | Self::Coalesce)
    }

    /// The type of the published column.
    ///
    /// # Errors
    /// A sentence, if the rule does not take values of type `ty`.
    pub fn output(self, ty: ValueType) -> Result<ValueType, String> {
        match self {
            Self::Count => Ok(ValueType::Int64),
            Self::Sum if !matches!(ty, ValueType::Int64 | ValueType::Float64) => Err(format!("sum takes int64 or float64, not {ty}")),
            Self::Min | Self::Max if ty == ValueType::Json => Err("min and max do not take json: cast it to text".into()),
            _ => Ok(ty),
        }
    }

    /// What one row's value is before it meets another.
    pub(super) fn begin(self, value: Option<Value>) -> Option<Value> {
        if self == Self::Count { Some(Value::Int64(i64::from(value.is_some()))) } else { value }
    }

    pub(super) fn join(self, earlier: Option<Value>, later: Option<Value>) -> Option<Value> {
        match self {
            Self::Latest => later,
            Self::First => earlier,
            Self::Coalesce => later.or(earlier),
            Self::Min | Self::Max => match (earlier, later) {
                (Some(a), Some(b)) => {
                    let b_is_greater = order(Some(&a), Some(&b)).is_lt();
                    Some(if b_is_greater == (self == Self::Max) { b } else { a })
                }
                (a, b) => a.or(b),
            },
            Self::Sum | Self::Count => match (earlier, later) {
                (Some(Value::Int64(a)), Some(Value::Int64(b))) => Some(Value::Int64(a.saturating_add(b))),
                (Some(Value::Float64(a)), Some(Value::Float64(b))) => Some(Value::Float64(a + b)),
                (a, b) => a.or(b),
            },
        }
    }
}
