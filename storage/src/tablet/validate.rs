//! Which rows of a request may be written.

use bytes::Bytes;
use common::ids::FamilyId;
use common::key::KeyRange;
use common::row::{Mutation, RowMutation};
use common::schema::{StoredQualifier, Table, TableKind};
use common::value::ValueType;
use common::{Error, Result};

/// Checks one row against limits, range and schema.
pub(super) fn check_row(row: &RowMutation, range: &KeyRange, table: &Table) -> Result<()> {
    row.check()?;
    if !range.contains(&row.key) {
        return Err(Error::not_mine(format!("key {:?} lies outside the tablet: refresh the tablet map", row.key)));
    }
    row.mutations.iter().try_for_each(|m| check_mutation(m, table))
}

fn check_mutation(m: &Mutation, table: &Table) -> Result<()> {
    // An append-only table refuses deletes here; that a set replaces nothing is for its sender to keep.
    if table.spec.append_only && !matches!(m, Mutation::Set { .. }) {
        let what = if matches!(m, Mutation::Combine { .. }) { "aggregates" } else { "deletes" };
        return Err(Error::refused(format!("table '{}' is append-only: it takes no {what}", table.name)));
    }
    let known = |family: FamilyId| match table.family_by_id(family) {
        Some(_) => Ok(()),
        None => Err(Error::invalid(format!("table '{}' has no family {family}", table.name))),
    };
    match m {
        Mutation::Set { family, .. } | Mutation::DeleteFamily { family } => known(*family),
        Mutation::Combine { family, qualifier, .. } => {
            known(*family)?;
            check_aggregate(qualifier, table)
        }
        Mutation::DeleteColumn { family, timestamps, .. } => {
            known(*family)?;
            if timestamps.is_empty() { Err(Error::invalid("a delete of an empty time range")) } else { Ok(()) }
        }
        Mutation::DeleteRow => Ok(()),
    }
}

/// An aggregate is an integer, and so must be its column if it is declared; derived tables hold what runs have computed.
fn check_aggregate(qualifier: &Bytes, table: &Table) -> Result<()> {
    if table.kind == TableKind::Derived {
        return Err(Error::invalid(format!("table '{}' is derived: a run combines what it stages itself", table.name)));
    }
    let column = match StoredQualifier::decode(qualifier) {
        Ok(StoredQualifier::Declared(id)) => table.column_by_id(id),
        _ => None,
    };
    match column.filter(|c| c.ty != ValueType::Int64) {
        None => Ok(()),
        Some(c) => Err(Error::invalid(format!("table '{}', column '{}': an aggregate needs a column of type int64", table.name, c.name))),
    }
}
