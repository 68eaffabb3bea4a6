//! A definition as its author writes it: the YAML of one derived table.
//!
//! Unknown keys are refused, and so is every known key whose effect is not built yet.

mod format;
mod parse;
mod refuse;
mod seed;
mod source;
mod words;

pub use format::{Format, json_schema};
pub use parse::parse;
pub use seed::{Seed, SeedWords};
pub use source::{ColumnNote, Source, SourceWords};

pub(crate) use parse::schedule;

use crate::fold::Rule;
use crate::window::WindowSpec;
use common::value::ValueType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The YAML of one derived table.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// `dataset.name`.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// For people: who answers for it.
    pub owner: Option<String>,
    /// For people: labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What is known of output columns.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnRule>,
    /// How rows get into the table.
    #[serde(default)]
    pub strategy: StrategySpec,
    /// How the table is cut in time.
    pub window: Option<WindowSpec>,
    /// The output column that says which window a row lies in.
    pub time_column: Option<String>,
    /// What the table means.
    #[serde(default)]
    pub meaning: Meaning,
    /// A time: nothing before it is computed.
    pub start: Option<String>,
    /// When due work may start: `on_data`, `every 1h`, or a cron pattern.
    pub schedule: Option<String>,
    /// Windows run before they are complete.
    #[serde(default)]
    pub eager: bool,
    /// Least time between two runs.
    pub min_interval: Option<String>,
    /// Least time between two repairs of complete windows.
    pub repair_interval: Option<String>,
    /// What happens to appended windows whose input changes later.
    pub late: Option<Late>,
    /// The row key.
    #[serde(default)]
    pub key: KeySpec,
    /// Refines inputs, by name.
    #[serde(default)]
    pub inputs: BTreeMap<String, InputRule>,
    /// How far behind it may be before status calls it stale.
    pub freshness: Option<String>,
    /// Attempts after a failed one.
    pub retries: Option<u32>,
    /// A run that takes longer fails.
    pub timeout: Option<String>,
    /// Columns that drop the privacy tags of what they are made of: one, or a list.
    #[serde(default, deserialize_with = "words::one_or_more")]
    #[schemars(schema_with = "words::one_or_more_schema::<Untag>")]
    pub untag: Vec<Untag>,
    /// The SQL, or the name of a file beside this one that ends in `.sql`.
    pub sql: String,
}

/// A column that drops the privacy tags of what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Untag {
    /// The output column.
    pub column: String,
    /// Why that is right, for those who review it.
    pub reason: String,
}

/// What is known of an output column.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnRule {
    /// For people.
    pub description: Option<String>,
    /// The type it must have.
    #[serde(rename = "type")]
    pub ty: Option<ValueType>,
    /// Privacy tags: what a column is made of hands its tags on, and each must be said again or [`Untag`]ged.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What must hold of every row.
    #[serde(default)]
    pub tests: Vec<ColumnTest>,
}

/// What must hold of a column in every row.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnTest {
    /// It has a value.
    NotNull,
    /// No two rows have the same value; null is none.
    Unique,
    /// Its value, if it has one, is one of these.
    AcceptedValues(Vec<serde_json::Value>),
    /// Its value, if it has one, lies between these, both included.
    Range(RangeSpec),
}

/// A range of values: numbers, texts, or dates and timestamps as text.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeSpec {
    /// The least that is allowed.
    pub min: Option<serde_json::Value>,
    /// The greatest that is allowed.
    pub max: Option<serde_json::Value>,
}

/// How rows get into the table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrategySpec {
    /// Computed windows, or the whole table, are swapped.
    #[default]
    Replace,
    /// A window is first written when it is complete.
    Append,
    /// Rows of one key are folded.
    Merge(MergeSpec),
}

/// The settings of a merge.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeSpec {
    /// The columns that make a row one.
    pub key: Vec<String>,
    /// Orders several rows of one key within a window.
    pub order_by: Option<String>,
    /// How each other column folds.
    pub columns: BTreeMap<String, Rule>,
}

/// What a windowed table means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Its SQL over all of its inputs; windows only say in which pieces it is computed.
    #[default]
    Whole,
    /// The union of its pieces; the SQL uses `window.start` and `window.end`.
    PerWindow,
}

/// What happens to appended windows whose input changes later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// The window is swapped.
    #[default]
    Repair,
    /// Nothing: the window stays as it was first written.
    Ignore,
}

/// What a window waits for in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// All that the window reads of it is complete.
    Complete,
    /// It has any version.
    Latest,
    /// Its last complete state, however old.
    LastComplete,
}

/// Whether an input's changes make windows due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// Every change that a window can see.
    #[default]
    Exact,
    /// None: the author accepts that rows keep what they were computed from.
    Ignore,
}

/// The row key of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySpec {
    /// First parts.
    #[serde(default)]
    pub partition: Vec<String>,
    /// Parts after those; `day desc` puts the newest first.
    #[serde(default)]
    pub cluster: Vec<String>,
    /// Columns of which no two rows hold the same.
    #[serde(default)]
    pub unique: Vec<String>,
}

/// Refines an input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputRule {
    /// What a window waits for.
    pub need: Option<Need>,
    /// A window needs no more of it than this before its start.
    pub back: Option<String>,
    /// A window needs no more of it than this after its end.
    pub ahead: Option<String>,
    /// Whether its changes make windows due.
    pub on_change: Option<OnChange>,
}
