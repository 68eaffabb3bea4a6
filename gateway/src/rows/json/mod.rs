//! JSON objects ↔ rows of a table, by its schema.
//!
//! A typed row is one flat object: key parts, declared columns and, inline, undeclared attributes, which keep the
//! JSON text that they were written with. Null means absent. A table without key parts has its key under `row_key`
//! and its families as nested objects `{family: {qualifier: value}}`; bytes that are not UTF-8 are `{"base64": "…"}`.

mod change;
mod conditional;
mod input;
mod output;
#[cfg(test)]
mod tests;

pub use change::Change;
pub use conditional::{Check, ModifyRow};
pub use output::Shape;

use crate::cluster::near;
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Columns, Row, RowMutation};
use common::schema::{StoredQualifier, Table};
use common::{Error, Result};
use input::Object;
use std::collections::HashMap;
use std::sync::Arc;
use strsim::levenshtein;

/// What a member of an input object is to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A key part, by its place in the key.
    Part(usize),
    /// A declared column, by its place.
    Column(usize),
}

/// Reads and writes rows of one table as JSON.
#[derive(Debug)]
pub struct JsonRows {
    table: Arc<Table>,
    roles: HashMap<String, Role>,
    /// Parts and columns that lie deeper in the input, with the names that lead there.
    deep: Vec<(Role, Vec<String>)>,
}

impl JsonRows {
    /// The JSON form of this table's rows.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        let parts = table.key.iter().enumerate().filter(|(_, p)| !p.hidden).map(|(i, p)| (p.name.as_str(), Role::Part(i)));
        let columns = table.columns.iter().enumerate().map(|(i, c)| (c.name.as_str(), Role::Column(i)));
        let (mut roles, mut deep) = (HashMap::new(), Vec::new());
        for (name, role) in parts.chain(columns) {
            roles.insert(name.to_owned(), role);
        }
        for (name, path) in &table.spec.from {
            let Some(&role) = roles.get(name) else { continue };
            match path.split('.').collect::<Vec<_>>().as_slice() {
                [one] => _ = roles.insert((*one).to_owned(), role),
                path => deep.push((role, path.iter().map(|&n| n.to_owned()).collect())),
            }
        }
        Self { table, roles, deep }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The mutation that writes the row that is `text`.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field, its value and what to write.
    pub fn read(&self, text: &str) -> Result<RowMutation> {
        let mutation = self.set(&Object::parse(text)?)?;
        mutation.check()?;
        Ok(mutation)
    }

    /// Appends `row` as one JSON object.
    ///
    /// # Errors
    /// `Corrupt` if key or cells do not decode.
    pub fn write(&self, row: &Row, shape: Shape, out: &mut String) -> Result<()> {
        output::write(&self.table, row, shape, out)
    }

    /// What a read fetches for these names: declared columns, families, undeclared attributes, `family:qualifier`. Key parts are always there.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that the table cannot have, with near ones.
    pub fn columns<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Columns> {
        let mut wanted = Vec::new();
        for name in names {
            if let Some(column) = self.table.column(name) {
                wanted.push((column.family, Some(column.stored())));
            } else if let Some(family) = self.table.family(name).filter(|f| !f.hidden) {
                wanted.push((family.id, None));
            } else if let Some((family, qualifier)) = name.split_once(':').filter(|(f, _)| self.table.family(f).is_some()) {
                let (family, stored) = self.table.stored_name(family, qualifier.as_bytes())?;
                wanted.push((family, Some(stored)));
            } else if !self.roles.contains_key(name) && (name != Table::ROW_KEY || !self.table.key.is_empty()) {
                wanted.push((self.attribute(name)?, Some(named(name))));
            }
        }
        Ok(Columns::Some(wanted))
    }

    /// The family of an undeclared attribute that is asked for. A name one letter off a declared column is taken for a mistake.
    fn attribute(&self, name: &str) -> Result<FamilyId> {
        let family = self.table.undeclared.ok_or_else(|| self.unknown(name))?;
        let alike = |other: &&String| name.len() > 3 && levenshtein(other, name) == 1;
        let Some(meant) = self.roles.keys().find(alike) else { return Ok(family) };
        let attrs = self.table.family_by_id(family).map_or("", |f| f.name.as_str());
        Err(Error::invalid(format!(
            "no column is called '{name}': did you mean '{meant}'? An undeclared attribute of that name is '{attrs}:{name}'"
        )))
    }

    fn unknown(&self, name: &str) -> Error {
        let known = self.table.key.iter().filter(|p| !p.hidden).map(|p| p.name.as_str());
        let near = near(name, known.chain(self.table.columns.iter().map(|c| c.name.as_str())));
        let hint = if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) };
        Error::invalid(format!("table '{}' has no column '{name}' and takes no undeclared attributes{hint}", self.table.name))
    }
}

/// The stored qualifier of an undeclared attribute.
fn named(name: &str) -> Bytes {
    StoredQualifier::Named(Bytes::copy_from_slice(name.as_bytes())).encode()
}
