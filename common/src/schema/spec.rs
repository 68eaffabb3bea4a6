use crate::time::parse_duration;
use crate::value::ValueType;
use crate::{Error, Result, limits};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::{BTreeMap, BTreeSet};

/// The family of declared columns that name none.
pub const DATA_FAMILY: &str = "data";
/// The family that takes undeclared attributes unless the spec names another.
pub const UNDECLARED_FAMILY: &str = "attrs";

/// A table as a user declares it, in YAML or JSON. Unknown keys are refused.
///
/// ```yaml
/// name: raw.game_events
/// key: [user_id: string, at: timestamp desc, event_id: string]
/// columns: {event_type: string, price: float64}
/// time_column: at
/// lateness: 1h
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// `dataset.name`, lower case letters, digits and `_`.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// Typed key parts in order. Empty: row keys are raw bytes, as in Bigtable.
    #[serde(default)]
    pub key: Vec<KeyPartSpec>,
    /// Declared columns in order.
    #[serde(default, with = "columns")]
    pub columns: Vec<ColumnSpec>,
    /// Families by name; those that columns name are added with the default rule.
    #[serde(default)]
    pub families: BTreeMap<String, FamilySpec>,
    /// The key part or timestamp column that holds the event time, if there is one.
    #[serde(default)]
    pub time_column: Option<String>,
    /// The family that keeps undeclared attributes of a row as JSON, or `none` to refuse them.
    #[serde(default)]
    pub undeclared: Option<String>,
    /// Where in a JSON input row a key part or column is found, if not under its own name: a dotted
    /// path, as in `{actor_id: actor.id, at: created_at}`. A path of one name renames that attribute; the
    /// object that a longer path leads into is still kept as the attribute or column it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from: BTreeMap<String, String>,
    /// How long after its event time a row may come and still be on time, for the watermark.
    #[serde(default)]
    pub lateness: Option<String>,
    /// Refuses deletes and overwrites.
    #[serde(default)]
    pub append_only: bool,
    /// Row-key prefixes, as key part values in key order, at which the new table is cut into tablets.
    #[serde(default)]
    pub split_at: Vec<Vec<serde_json::Value>>,
    /// How its SSTables are compacted; by default as suits the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction: Option<CompactionKind>,
}

/// How a table's SSTables are compacted. Within a time slice, where a table has slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompactionKind {
    /// SSTables of about one size are merged. Writes least; a read looks into the most files, and replaced versions
    /// take room until large files are merged.
    SizeTiered,
    /// Levels of disjoint SSTables, each some times as large as the one above. A read looks into one file a level,
    /// and little room is wasted; writes more.
    Leveled,
    /// Size-tiered while a slice of time is written, one SSTable once it is past; the default where there are slices.
    TimeWindowed,
}

/// A family's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FamilySpec {
    /// Which cells a reader no longer sees. Default: the newest version of each column only.
    #[serde(default)]
    pub gc: Option<GcRule>,
    /// Holds what only Stele reads (a derived table's merge parts); never shown.
    #[serde(default)]
    pub hidden: bool,
}

/// Which cells of a family are condemned: they are never seen by a reader, and compaction removes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GcRule {
    /// Nothing is condemned.
    KeepAll,
    /// All but the newest n versions of a column are condemned; n ≥ 1.
    MaxVersions(u32),
    /// Cells with a timestamp older than this many seconds before `now` are condemned.
    MaxAgeSeconds(u64),
    /// Condemned if any of these condemns.
    Union(Vec<GcRule>),
    /// Condemned only if all of these condemn.
    Intersection(Vec<GcRule>),
}

impl Default for GcRule {
    fn default() -> Self {
        Self::MaxVersions(1)
    }
}

impl GcRule {
    /// Whether a cell is condemned: `newer` live versions of its column lie before it, and it is `age_micros` old.
    #[must_use]
    pub fn condemns(&self, newer: u64, age_micros: i64) -> bool {
        match self {
            Self::KeepAll => false,
            Self::MaxVersions(n) => newer >= u64::from(*n),
            Self::MaxAgeSeconds(s) => age_micros > i64::try_from(s.saturating_mul(1_000_000)).unwrap_or(i64::MAX),
            Self::Union(rules) => rules.iter().any(|r| r.condemns(newer, age_micros)),
            Self::Intersection(rules) => !rules.is_empty() && rules.iter().all(|r| r.condemns(newer, age_micros)),
        }
    }

    /// The age, in seconds, from which on it condemns even the newest version of a column; `None`: it never does.
    #[must_use]
    pub fn max_age(&self) -> Option<u64> {
        match self {
            Self::KeepAll | Self::MaxVersions(_) => None,
            Self::MaxAgeSeconds(age) => Some(*age),
            Self::Union(rules) => rules.iter().filter_map(Self::max_age).min(),
            Self::Intersection(rules) => rules.iter().map(Self::max_age).collect::<Option<Vec<_>>>()?.into_iter().max(),
        }
    }

    /// Whether it depends on how old a cell is.
    #[must_use]
    pub fn looks_at_age(&self) -> bool {
        match self {
            Self::KeepAll | Self::MaxVersions(_) => false,
            Self::MaxAgeSeconds(_) => true,
            Self::Union(rules) | Self::Intersection(rules) => rules.iter().any(Self::looks_at_age),
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::MaxVersions(0) => Err("max_versions must be at least 1".into()),
            Self::Union(rules) | Self::Intersection(rules) if rules.is_empty() => {
                Err("union and intersection need at least one rule".into())
            }
            Self::Union(rules) | Self::Intersection(rules) => rules.iter().try_for_each(Self::check),
            _ => Ok(()),
        }
    }
}

/// One part of the row key: `{user_id: string}`, `{at: timestamp desc}`; derived tables also use `nullable` and `hidden`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPartSpec {
    /// The part's name, a column in SQL and JSON.
    pub name: String,
    /// Its type.
    pub ty: ValueType,
    /// Largest first.
    pub descending: bool,
    /// Null is a value.
    pub nullable: bool,
    /// Not shown in SQL `*` nor JSON, optional in key reads (a derived table's tie-break).
    pub hidden: bool,
}

/// One declared column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSpec {
    /// Its name in SQL and JSON.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ValueType,
    /// Its family; default [`DATA_FAMILY`].
    #[serde(default = "data_family")]
    pub family: String,
    /// Its qualifier for clients of the Bigtable API; default its name.
    #[serde(default)]
    pub qualifier: Option<String>,
}

fn data_family() -> String {
    DATA_FAMILY.into()
}

impl JsonSchema for KeyPartSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyPart".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let types: Vec<_> = ValueType::ALL.iter().map(|t| t.name()).collect();
        json_schema!({
            "description": "one name with its type, as in {user_id: string} or {at: timestamp desc}",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": { "type": "string", "pattern": format!("^({})( (asc|desc|nullable|hidden))*$", types.join("|")) }
        })
    }
}

impl Serialize for KeyPartSpec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut words = self.ty.name().to_owned();
        for (set, word) in [(self.descending, " desc"), (self.nullable, " nullable"), (self.hidden, " hidden")] {
            if set {
                words.push_str(word);
            }
        }
        BTreeMap::from([(&self.name, words)]).serialize(s)
    }
}

impl<'de> Deserialize<'de> for KeyPartSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let one = BTreeMap::<String, String>::deserialize(d)?;
        let mut parts = one.into_iter();
        let (Some((name, words)), None) = (parts.next(), parts.next()) else {
            return Err(de::Error::custom("a key part is one name with its type, as in {user_id: string} or {at: timestamp desc}"));
        };
        let mut words = words.split_whitespace();
        let ty = ValueType::parse(words.next().unwrap_or_default()).map_err(de::Error::custom)?;
        let mut part = Self { name, ty, descending: false, nullable: false, hidden: false };
        for word in words {
            match word {
                "asc" => part.descending = false,
                "desc" => part.descending = true,
                "nullable" => part.nullable = true,
                "hidden" => part.hidden = true,
                other => {
                    return Err(de::Error::custom(format!(
                        "key part '{}': unknown word '{other}': write asc, desc or nullable",
                        part.name
                    )));
                }
            }
        }
        Ok(part)
    }
}

/// `columns` is a list of column objects, or a map of name → type for the usual case.
mod columns {
    use super::{ColumnSpec, DATA_FAMILY};
    use crate::value::ValueType;
    use serde::de::{MapAccess, SeqAccess, Visitor};
    use serde::{Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(columns: &[ColumnSpec], s: S) -> Result<S::Ok, S::Error> {
        columns.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<ColumnSpec>, D::Error> {
        struct Columns;
        impl<'de> Visitor<'de> for Columns {
            type Value = Vec<ColumnSpec>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a map of column name to type, or a list of {name, type, family, qualifier}")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some(c) = seq.next_element()? {
                    out.push(c);
                }
                Ok(out)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some((name, ty)) = map.next_entry::<String, ValueType>()? {
                    out.push(ColumnSpec { name, ty, family: DATA_FAMILY.into(), qualifier: None });
                }
                Ok(out)
            }
        }
        d.deserialize_any(Columns)
    }
}

impl TableSpec {
    /// A spec with a name and nothing else.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            key: Vec::new(),
            columns: Vec::new(),
            families: BTreeMap::new(),
            time_column: None,
            undeclared: None,
            from: BTreeMap::new(),
            lateness: None,
            append_only: false,
            split_at: Vec::new(),
            compaction: None,
        }
    }

    /// Checks everything that can be checked without the cluster.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the table, the place and what to write.
    pub fn check(&self) -> Result<()> {
        self.check_parts().map_err(|e| Error::invalid(format!("table '{}': {e}", self.name)))
    }

    fn check_parts(&self) -> Result<(), String> {
        check_table_name(&self.name)?;
        let mut names = BTreeSet::new();
        for name in self.key.iter().map(|p| &p.name).chain(self.columns.iter().map(|c| &c.name)) {
            check_column_name(name)?;
            if !names.insert(name.as_str()) {
                return Err(format!("'{name}' is declared twice"));
            }
        }
        let mut bound = BTreeSet::new();
        for c in &self.columns {
            check_family_name(&c.family)?;
            let qualifier = c.qualifier.as_deref().unwrap_or(&c.name);
            if qualifier.len() > limits::MAX_QUALIFIER_BYTES {
                return Err(format!(
                    "column '{}': qualifier of {} bytes; at most {} are allowed",
                    c.name,
                    qualifier.len(),
                    limits::MAX_QUALIFIER_BYTES
                ));
            }
            if !bound.insert((c.family.as_str(), qualifier)) {
                return Err(format!("column '{}': another column is bound to {}:{qualifier}", c.name, c.family));
            }
        }
        for (name, family) in &self.families {
            check_family_name(name)?;
            family.gc.as_ref().map_or(Ok(()), GcRule::check).map_err(|e| format!("family '{name}': {e}"))?;
        }
        for family in self.family_names() {
            if names.contains(family.as_str()) && family != DATA_FAMILY {
                return Err(format!(
                    "'{family}' is both a family and a column: rename one, a family of undeclared attributes is a map column in SQL"
                ));
            }
        }
        if let Some(lateness) = &self.lateness {
            parse_duration(lateness).map_err(|e| format!("lateness: {e}"))?;
        }
        self.check_from(&names)?;
        self.check_time_column()
    }

    fn check_from(&self, names: &BTreeSet<&str>) -> Result<(), String> {
        for (name, path) in &self.from {
            if !names.contains(name.as_str()) {
                return Err(format!("from: '{name}' is neither a key part nor a column"));
            }
            if path.split('.').any(str::is_empty) {
                return Err(format!(
                    "from: '{path}' is not a path of '{name}': write an attribute, or names joined by dots as in actor.id"
                ));
            }
        }
        Ok(())
    }

    fn check_time_column(&self) -> Result<(), String> {
        let Some(name) = &self.time_column else {
            return Ok(());
        };
        let part = self.key.iter().map(|p| (&p.name, p.ty));
        let column = self.columns.iter().map(|c| (&c.name, c.ty));
        match part.chain(column).find(|(n, _)| *n == name) {
            Some((_, ValueType::Timestamp | ValueType::Date)) => Ok(()),
            Some((_, ty)) => Err(format!("time_column '{name}' is of type {ty}; it must be timestamp or date")),
            None => Err(format!("time_column '{name}' is neither a key part nor a column")),
        }
    }

    /// The names that lead to the key part or column `name` in a JSON input row, if [`Self::from`]
    /// says that it is not under its own name.
    #[must_use]
    pub fn input_path(&self, name: &str) -> Option<impl Iterator<Item = &str> + Clone> {
        self.from.get(name).map(|path| path.split('.'))
    }

    /// The family for undeclared attributes, `None` if they are refused.
    #[must_use]
    pub fn undeclared_family(&self) -> Option<&str> {
        match self.undeclared.as_deref() {
            Some("none") => None,
            Some(name) => Some(name),
            None => Some(UNDECLARED_FAMILY),
        }
    }

    /// All families, those of columns and undeclared attributes included; [`DATA_FAMILY`] first.
    #[must_use]
    pub fn family_names(&self) -> Vec<String> {
        let mut names = vec![DATA_FAMILY.to_owned()];
        let more =
            self.columns.iter().map(|c| c.family.as_str()).chain(self.undeclared_family()).chain(self.families.keys().map(String::as_str));
        for name in more {
            if !names.iter().any(|n| n == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

fn is_word(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Checks `dataset.name`.
///
/// # Errors
/// A sentence that says what to write.
pub fn check_table_name(name: &str) -> Result<(), String> {
    let parts: Vec<_> = name.split('.').collect();
    if name.len() > limits::MAX_TABLE_NAME_BYTES {
        return Err(format!("a name of {} bytes; at most {} are allowed", name.len(), limits::MAX_TABLE_NAME_BYTES));
    }
    if parts.len() != 2 || !parts.iter().all(|p| is_word(p)) {
        return Err("a table name is 'dataset.name' of lower case letters, digits and _".into());
    }
    Ok(())
}

fn check_column_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > limits::MAX_TABLE_NAME_BYTES || name.contains(['\0', '"']) {
        return Err(format!("'{name}' is not a column name: 1 to {} bytes without quotes", limits::MAX_TABLE_NAME_BYTES));
    }
    Ok(())
}

fn check_family_name(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.len() <= limits::MAX_FAMILY_NAME_BYTES;
    if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
        Ok(())
    } else {
        Err(format!("'{name}' is not a family name: 1 to {} letters, digits, _, - or .", limits::MAX_FAMILY_NAME_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<TableSpec> {
        let spec: TableSpec = serde_json::from_str(text).unwrap();
        spec.check().map(|()| spec)
    }

    #[test]
    fn a_path_leads_to_a_part_or_column() {
        let s = spec(r#"{"name": "a.b", "key": [{"actor_id": "int64"}], "from": {"actor_id": "actor.id"}}"#).unwrap();
        assert_eq!(s.input_path("actor_id").unwrap().collect::<Vec<_>>(), ["actor", "id"]);
        assert!(s.input_path("actor").is_none());
        let unknown = spec(r#"{"name": "a.b", "from": {"actor_id": "actor.id"}}"#).unwrap_err();
        assert!(unknown.message.contains("'actor_id'"), "{unknown}");
        let empty = spec(r#"{"name": "a.b", "columns": {"x": "json"}, "from": {"x": "actor."}}"#).unwrap_err();
        assert!(empty.message.contains("'actor.'"), "{empty}");
    }
}
