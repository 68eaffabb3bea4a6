use super::ClusterState;
use common::ids::TableId;
use common::schema::TableKind;
use common::time::Micros;
use common::{Error, Result};
use std::collections::BTreeSet;

/// Sets a raw table's watermark; an earlier one than it has changes nothing.
///
/// # Errors
/// `NotFound`, or `InvalidArgument` for a table that clients do not write.
pub(super) fn set(state: &mut ClusterState, name: &str, at: Micros) -> Result<()> {
    let table = state.existing(name)?;
    if table.kind != TableKind::Raw {
        return Err(Error::invalid(format!("table '{name}' is not raw: its completeness follows from its inputs")));
    }
    let mark = state.watermarks.entry(table.id).or_insert(at);
    *mark = at.max(*mark);
    Ok(())
}

/// Notes which raw tables are being loaded in bulk.
pub(super) fn ingesting(state: &mut ClusterState, tables: &BTreeSet<TableId>) {
    state.ingesting = tables.iter().copied().filter(|id| state.tables.contains_key(id)).collect();
}
