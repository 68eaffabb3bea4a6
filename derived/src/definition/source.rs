//! `sources/*.yaml`: a table that applications write, as derived tables see it.

use super::words::{self, ColumnWords};
use crate::problem::Problem;
use crate::yaml;
use common::schema::{ColumnSpec, CompactionKind, FamilySpec, KeyPartSpec, TableSpec};
use common::time::parse_duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A file of `sources/`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Source")]
pub struct SourceWords {
    /// `dataset.name`, lower case letters, digits and `_`.
    name: String,
    /// For people.
    description: Option<String>,
    /// For people: who answers for it.
    owner: Option<String>,
    /// For people: labels.
    #[serde(default)]
    tags: Vec<String>,
    /// Typed key parts in order. Empty: row keys are raw bytes, as in Bigtable.
    #[serde(default)]
    key: Vec<KeyPartSpec>,
    /// Columns in order: `{price: float64}`, or `{email: {type: string, description: …, tags: [personal]}}`. Key parts may be described here too, without a type.
    #[serde(default, deserialize_with = "words::columns")]
    #[schemars(schema_with = "words::columns_schema")]
    columns: Vec<ColumnWords>,
    /// Families by name; those that columns name are added with the default rule.
    #[serde(default)]
    families: BTreeMap<String, FamilySpec>,
    /// The key part or timestamp column that holds the event time, if there is one.
    time_column: Option<String>,
    /// The family that keeps undeclared attributes of a row as JSON, or `none` to refuse them.
    undeclared: Option<String>,
    /// Where in a JSON input row a key part or column is found: a dotted path.
    #[serde(default)]
    from: BTreeMap<String, String>,
    /// How long after its event time a row may come and still be on time, for the watermark.
    lateness: Option<String>,
    /// How far behind its newest row may be: a table that promises to be fresher than its sources is warned of.
    freshness: Option<String>,
    /// Refuses deletes and overwrites.
    #[serde(default)]
    append_only: bool,
    /// Row-key prefixes, as key part values in key order, at which the new table is cut into tablets.
    #[serde(default)]
    split_at: Vec<Vec<serde_json::Value>>,
    /// How its SSTables are compacted; by default as suits the table.
    compaction: Option<CompactionKind>,
}

/// A table that applications write.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Relative to the project.
    pub file: String,
    /// The table.
    pub spec: TableSpec,
    /// For people: who answers for it.
    pub owner: Option<String>,
    /// For people: labels.
    pub tags: Vec<String>,
    /// How far behind its newest row may be.
    pub freshness: Option<Duration>,
    /// What is said of columns and key parts.
    pub notes: BTreeMap<String, ColumnNote>,
}

/// What is said of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnNote {
    /// For people.
    pub description: Option<String>,
    /// Privacy tags.
    pub tags: Vec<String>,
}

impl Source {
    /// Reads one file.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let words: SourceWords = yaml::read(file, text)?;
        let at = |key: &str, message: String| Problem::at_key(file, text, key, message);
        let freshness =
            words.freshness.as_deref().map(parse_duration).transpose().map_err(|e| at("freshness", format!("freshness: {e}")))?;
        let mut columns = Vec::new();
        for c in &words.columns {
            let in_key = words.key.iter().any(|p| p.name == c.name);
            let wrong = |message: &str| Problem::at_path(file, text, &["columns", &c.name], format!("column '{}': {message}", c.name));
            match c.ty {
                Some(ty) if !in_key => {
                    columns.push(ColumnSpec { name: c.name.clone(), ty, family: c.family.clone(), qualifier: c.qualifier.clone() })
                }
                Some(_) => return Err(wrong("a part of the key has its type there: leave it out here")),
                None if !in_key => return Err(wrong("it needs a type")),
                None => {}
            }
        }
        let spec = TableSpec {
            description: words.description,
            key: words.key,
            columns,
            families: words.families,
            time_column: words.time_column,
            undeclared: words.undeclared,
            from: words.from,
            lateness: words.lateness,
            append_only: words.append_only,
            split_at: words.split_at,
            compaction: words.compaction,
            ..TableSpec::named(words.name)
        };
        spec.check().map_err(|e| Problem::at_key(file, text, about(&spec, &e.message), e.message))?;
        Ok(Self { file: file.into(), spec, owner: words.owner, tags: words.tags, freshness, notes: notes(&words.columns) })
    }
}

/// What is said of columns, where anything is.
pub(super) fn notes(columns: &[ColumnWords]) -> BTreeMap<String, ColumnNote> {
    let said = columns.iter().filter(|c| c.description.is_some() || !c.tags.is_empty());
    said.map(|c| (c.name.clone(), ColumnNote { description: c.description.clone(), tags: c.tags.clone() })).collect()
}

/// The key of the file that a table's own check is about.
fn about(spec: &TableSpec, message: &str) -> &'static str {
    let keys = ["time_column", "lateness", "from", "family", "column", "key part"];
    let said = message.strip_prefix(&format!("table '{}': ", spec.name)).unwrap_or(message);
    match keys.into_iter().find(|key| said.starts_with(key)) {
        Some("family") => "families",
        Some("column") => "columns",
        Some("key part") => "key",
        Some(key) => key,
        None => "name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "name: raw.users
description: who plays
owner: accounts
key: [user_id: string]
columns:
  user_id: {description: the account, tags: [personal]}
  email: {type: string, tags: [personal]}
  country: string
lateness: 1h
freshness: 6h
";

    #[test]
    fn columns_are_types_or_more_and_key_parts_may_be_described() {
        let source = Source::parse("sources/users.yaml", WHOLE).unwrap();
        assert_eq!(source.spec.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["email", "country"]);
        assert_eq!(source.notes["user_id"].tags, ["personal"]);
        assert_eq!(source.notes["user_id"].description.as_deref(), Some("the account"));
        assert!(!source.notes.contains_key("country"));
        assert_eq!(source.freshness, Some(Duration::from_secs(6 * 3600)));
        let list = Source::parse("s.yaml", "name: raw.x\ncolumns: [{name: a, type: int64}, {name: b, type: json, family: f}]").unwrap();
        assert_eq!((list.spec.columns[0].ty.name(), list.spec.columns[1].family.as_str()), ("int64", "f"));
    }

    #[test]
    fn what_is_wrong_with_a_source_is_told_with_its_place() {
        for (from, to, place, says) in [
            ("owner", "ownr", "3:1", "did you mean 'owner'"),
            ("type: string", "typ: string", "7:11", "did you mean 'type'"),
            ("type: string", "type: strin", "7:", "did you mean 'string'"),
            ("{description: the", "{type: string, description: the", "6:3", "leave it out here"),
            ("type: string, ", "", "7:3", "needs a type"),
            ("6h", "soon", "10:1", "freshness"),
            ("1h", "soon", "9:1", "lateness"),
            ("country: string", "country: text", "8:3", "unknown type 'text'"),
            ("raw.users", "users", "1:1", "dataset.name"),
        ] {
            let e = Source::parse("sources/users.yaml", &WHOLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(e.starts_with(&format!("sources/users.yaml:{place}")) && e.contains(says), "{from} → {to}: {e}");
        }
    }
}
