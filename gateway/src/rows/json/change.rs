use super::input::Object;
use super::{JsonRows, named};
use common::ids::FamilyId;
use common::row::{Mutation, RowMutation};
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::{Error, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Changes to one row as a client writes them: deletes come first, then what is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The row's key parts (or `row_key`); may be left out if `set` has them.
    #[serde(default)]
    pub key: Option<Box<RawValue>>,
    /// A row, or some of its columns.
    #[serde(default)]
    pub set: Option<Box<RawValue>>,
    /// What to delete.
    #[serde(default)]
    pub delete: Option<Delete>,
}

/// What to delete of a row.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Delete {
    /// `"row"`: all of it.
    Whole(Whole),
    /// `true`: all of it.
    All(bool),
    /// Some of it.
    Some(DeleteSome),
}

/// The word for all of a row.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whole {
    /// All of it.
    Row,
}

/// Columns and families to delete.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteSome {
    /// Declared columns, undeclared attributes, or `family:qualifier`.
    #[serde(default)]
    columns: Vec<String>,
    /// Whole families.
    #[serde(default)]
    families: Vec<String>,
    /// Cell timestamps of `columns` from here on.
    #[serde(default)]
    from: Option<String>,
    /// Cell timestamps of `columns` before this.
    #[serde(default)]
    to: Option<String>,
}

impl JsonRows {
    /// The mutation that makes `change`.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field, its value and what to write.
    pub fn change(&self, change: &Change) -> Result<RowMutation> {
        let mut all = Object::default();
        for text in [&change.key, &change.set].into_iter().flatten() {
            all.members.extend(Object::parse(text.get())?.members);
        }
        let mutation = match (&change.delete, &change.set) {
            (None, None) => return Err(Error::invalid("neither 'set' nor 'delete' is given")),
            (None, Some(_)) => self.set(&all)?,
            (Some(delete), set) => {
                let mut mutations = self.deletes(delete)?;
                let key = match (set, &change.key) {
                    (Some(_), _) => {
                        let set = self.set(&all)?;
                        mutations.extend(set.mutations);
                        set.key
                    }
                    (None, Some(key)) => self.key_of(&Object::parse(key.get())?)?,
                    (None, None) => return Err(Error::invalid("'key' is missing: say of which row to delete")),
                };
                RowMutation { key, mutations }
            }
        };
        mutation.check()?;
        Ok(mutation)
    }

    fn deletes(&self, delete: &Delete) -> Result<Vec<Mutation>> {
        let some = match delete {
            Delete::Whole(Whole::Row) | Delete::All(true) => return Ok(vec![Mutation::DeleteRow]),
            Delete::All(false) => return Err(Error::invalid("'delete' is false: leave it out")),
            Delete::Some(some) => some,
        };
        let time = |text: &Option<String>, open| text.as_deref().map_or(Ok(open), |t| Micros::parse(t).map_err(Error::invalid));
        let timestamps = TimeRange { start: time(&some.from, Micros::MIN)?, end: time(&some.to, Micros::MAX)? };
        if timestamps != TimeRange::ALL && some.columns.is_empty() {
            return Err(Error::invalid("'from' and 'to' are cell timestamps of 'columns': name some columns"));
        }
        let mut mutations = Vec::new();
        for name in &some.columns {
            let (family, qualifier) = self.column_named(name)?;
            mutations.push(Mutation::DeleteColumn { family, qualifier, timestamps });
        }
        for name in &some.families {
            // Its error lists the families that there are.
            let (family, _) = self.table.stored_name(name, b"")?;
            mutations.push(Mutation::DeleteFamily { family });
        }
        if mutations.is_empty() {
            return Err(Error::invalid("nothing to delete: write \"row\", or name columns or families"));
        }
        Ok(mutations)
    }

    /// Where a column is stored.
    pub(super) fn column_named(&self, name: &str) -> Result<(FamilyId, bytes::Bytes)> {
        if let Some(column) = self.table.column(name) {
            return Ok((column.family, column.stored()));
        }
        if self.table.key_part(name).is_some() || name == Table::ROW_KEY {
            return Err(Error::invalid(format!("'{name}' is part of the key and cannot be deleted alone")));
        }
        if let Some((family, qualifier)) = name.split_once(':').filter(|(f, _)| self.table.family(f).is_some()) {
            return self.table.stored_name(family, qualifier.as_bytes());
        }
        let family = self.table.undeclared.ok_or_else(|| self.unknown(name))?;
        Ok((family, named(name)))
    }
}
