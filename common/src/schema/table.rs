use super::keyspec::KeySchema;
use super::spec::{GcRule, TableSpec};
use super::stored::StoredQualifier;
use crate::changes::Keyed;
use crate::ids::{ColumnId, FamilyId, SchemaVersion, TableId};
use crate::key::PartCodec;
use crate::value::ValueType;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Who may write a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Clients write it.
    Raw,
    /// Only runs write it; its seqs are its versions.
    Derived,
    /// Only Stele itself writes it (`system.*`).
    System,
}

/// A table as the cluster holds it: a [`TableSpec`] with ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Never reused.
    pub id: TableId,
    /// `dataset.name`.
    pub name: String,
    /// Who writes it.
    pub kind: TableKind,
    /// Key parts in order; empty for raw byte keys.
    pub key: Vec<KeyPart>,
    /// Declared columns in order of declaration.
    pub columns: Vec<Column>,
    /// Families in order of creation; the first holds row markers.
    pub families: Vec<Family>,
    /// The key part or column that holds the event time.
    pub time_column: Option<String>,
    /// The family of undeclared attributes; `None` refuses them.
    pub undeclared: Option<FamilyId>,
    /// Grows with every change of schema or GC rules.
    pub schema_version: SchemaVersion,
    /// What the user declared.
    pub spec: TableSpec,
}

impl Keyed for Table {
    type Key = TableId;

    fn key(&self) -> TableId {
        self.id
    }
}

/// A typed key part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPart {
    /// Its name.
    pub name: String,
    /// Its encoding.
    pub codec: PartCodec,
    /// See [`super::KeyPartSpec::hidden`].
    pub hidden: bool,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Never reused within the table.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ValueType,
    /// Its family.
    pub family: FamilyId,
    /// Its qualifier for clients of the Bigtable API.
    pub qualifier: String,
}

impl Column {
    /// The qualifier under which files hold this column.
    #[must_use]
    pub fn stored(&self) -> bytes::Bytes {
        StoredQualifier::Declared(self.id).encode()
    }
}

/// A column family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// Never reused within the table.
    pub id: FamilyId,
    /// Its name.
    pub name: String,
    /// Which of its cells are condemned.
    pub gc: GcRule,
    /// Holds what only Stele reads (merge parts); never shown.
    pub hidden: bool,
}

impl Table {
    /// Gives ids to everything that `spec` declares: families and columns count from 1.
    ///
    /// # Errors
    /// `InvalidArgument` if the spec does not [check](TableSpec::check).
    pub fn create(id: TableId, kind: TableKind, spec: TableSpec) -> Result<Self> {
        spec.check()?;
        let family_id = |i: usize| FamilyId(i as u32 + 1);
        let families: Vec<_> = (spec.family_names().into_iter().enumerate())
            .map(|(i, name)| {
                let declared = spec.families.get(&name);
                let gc = declared.and_then(|f| f.gc.clone()).unwrap_or_default();
                Family { id: family_id(i), gc, hidden: declared.is_some_and(|f| f.hidden), name }
            })
            .collect();
        let by_name = |name: &str| families.iter().find(|f| f.name == name).map(|f| f.id);
        let columns = (spec.columns.iter().enumerate())
            .map(|(i, c)| {
                Ok(Column {
                    id: ColumnId(i as u32 + 1),
                    name: c.name.clone(),
                    ty: c.ty,
                    family: by_name(&c.family).ok_or_else(|| Error::internal(format!("family '{}' got no id", c.family)))?,
                    qualifier: c.qualifier.clone().unwrap_or_else(|| c.name.clone()),
                })
            })
            .collect::<Result<_>>()?;
        let key = (spec.key.iter())
            .map(|p| KeyPart {
                name: p.name.clone(),
                codec: PartCodec { ty: p.ty, descending: p.descending, nullable: p.nullable },
                hidden: p.hidden,
            })
            .collect();
        Ok(Self {
            id,
            name: spec.name.clone(),
            kind,
            key,
            columns,
            undeclared: spec.undeclared_family().and_then(by_name),
            families,
            time_column: spec.time_column.clone(),
            schema_version: SchemaVersion(1),
            spec,
        })
    }

    /// The table's key encoding.
    #[must_use]
    pub fn key_schema(&self) -> KeySchema<'_> {
        let time = self.time_column.as_deref().and_then(|name| self.key_part(name)).map(|(i, _)| i);
        KeySchema::new(&self.key, self.kind == TableKind::Derived).with_time(time)
    }

    /// The beginning of row keys that these first key part values in JSON stand for; of a table without key parts one text.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key part.
    pub fn key_prefix(&self, values: &[serde_json::Value]) -> Result<Vec<u8>> {
        super::prefix::encode(self, values)
    }

    /// The declared column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The declared column that files hold under `stored`.
    #[must_use]
    pub fn column_by_id(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|c| c.id == id)
    }

    /// The key part of this name, with its position.
    #[must_use]
    pub fn key_part(&self, name: &str) -> Option<(usize, &KeyPart)> {
        self.key.iter().enumerate().find(|(_, p)| p.name == name)
    }

    /// The family of this name.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|f| f.name == name)
    }

    /// The family of this id.
    #[must_use]
    pub fn family_by_id(&self, id: FamilyId) -> Option<&Family> {
        self.families.iter().find(|f| f.id == id)
    }

    /// The family that holds row markers.
    #[must_use]
    pub fn marker_family(&self) -> FamilyId {
        self.families.first().map_or(FamilyId(1), |f| f.id)
    }

    /// The stored name of `family:qualifier` as a client of the Bigtable API writes it: a declared
    /// column's id if one is bound to it, else the qualifier itself.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown family, listing those there are.
    pub fn stored_name(&self, family: &str, qualifier: &[u8]) -> Result<(FamilyId, bytes::Bytes)> {
        let Some(found) = self.family(family).filter(|f| !f.hidden) else {
            let known: Vec<_> = self.families.iter().filter(|f| !f.hidden).map(|f| f.name.as_str()).collect();
            return Err(Error::invalid(format!("table '{}' has no family '{family}'; it has {}", self.name, known.join(", "))));
        };
        let declared = self.columns.iter().find(|c| c.family == found.id && c.qualifier.as_bytes() == qualifier);
        let stored = match declared {
            Some(c) => c.stored(),
            None => StoredQualifier::Named(bytes::Bytes::copy_from_slice(qualifier)).encode(),
        };
        Ok((found.id, stored))
    }

    /// How late a row may be, from the spec; zero if it says nothing.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.spec.lateness.as_deref().and_then(|l| crate::time::parse_duration(l).ok()).unwrap_or_default()
    }
}
