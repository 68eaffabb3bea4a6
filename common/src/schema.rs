//! Table schemas: what a user declares ([`TableSpec`]) and what the cluster stores ([`Table`]).
//!
//! Files hold ids, never names: a declared column is stored under its [`ColumnId`](crate::ids::ColumnId), an undeclared
//! one under its qualifier bytes ([`StoredQualifier`]). So renaming is metadata, and a dropped
//! column's data can never come back under a new column of the same name.

mod columnar;
mod keyspec;
mod prefix;
mod spec;
mod stored;
mod table;

pub use columnar::{arrow_type, is_json};
pub use keyspec::{DATA_PREFIX, HIDDEN_PREFIX, KeySchema};
pub use spec::{ColumnSpec, CompactionKind, DATA_FAMILY, FamilySpec, GcRule, KeyPartSpec, TableSpec, UNDECLARED_FAMILY, check_table_name};
pub use stored::{ROW_MARKER, StoredQualifier};
pub use table::{Column, Family, KeyPart, Table, TableKind};
