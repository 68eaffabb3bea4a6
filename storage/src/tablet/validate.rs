//! Which rows of a request may be written.

use common::ids::FamilyId;
use common::key::KeyRange;
use common::row::{Mutation, RowMutation};
use common::schema::Table;
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
        return Err(Error::refused(format!("table '{}' is append-only: it takes no deletes", table.name)));
    }
    let known = |family: FamilyId| match table.family_by_id(family) {
        Some(_) => Ok(()),
        None => Err(Error::invalid(format!("table '{}' has no family {family}", table.name))),
    };
    match m {
        Mutation::Set { family, .. } | Mutation::DeleteFamily { family } => known(*family),
        Mutation::DeleteColumn { family, timestamps, .. } => {
            known(*family)?;
            if timestamps.is_empty() { Err(Error::invalid("a delete of an empty time range")) } else { Ok(()) }
        }
        Mutation::DeleteRow => Ok(()),
    }
}
