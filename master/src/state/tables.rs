use super::{ClusterState, copies, endings, names, procedures, snapshots, splits, tablets};
use common::catalog::system_tables;
use common::ids::TableId;
use common::schema::{Table, TableKind, TableSpec};
use common::time::Micros;
use common::{Error, Result};
use std::sync::Arc;

/// Creates a raw table, or answers with the one that the same spec has created.
///
/// # Errors
/// `InvalidArgument` for a bad spec, `AlreadyExists` for a table of this name with another spec or kind.
pub(super) fn create_raw(state: &mut ClusterState, spec: &TableSpec) -> Result<Arc<Table>> {
    names::check_dataset(&spec.name)?;
    match state.table_named(&spec.name) {
        None => create(state, spec, TableKind::Raw),
        Some(table) if table.kind == TableKind::Raw && table.spec == *spec => Ok(table.clone()),
        Some(table) if table.kind == TableKind::Raw => {
            Err(Error::already_exists(format!("table '{}' exists already with another schema", spec.name)))
        }
        Some(_) => Err(Error::already_exists(format!("table '{}' exists already and is made by a definition", spec.name))),
    }
}

/// Creates those system tables that are missing.
///
/// # Errors
/// As [`create`].
pub(super) fn create_system(state: &mut ClusterState) -> Result<()> {
    for spec in system_tables() {
        if state.table_named(&spec.name).is_none() {
            create(state, &spec, TableKind::System)?;
        }
    }
    Ok(())
}

/// Creates a table and its tablets.
///
/// # Errors
/// `InvalidArgument`, for the spec or its split points; `AlreadyExists` if a procedure is making one of this name.
pub(super) fn create(state: &mut ClusterState, spec: &TableSpec, kind: TableKind) -> Result<Arc<Table>> {
    copies::check_free(state, &spec.name)?;
    let table = Arc::new(Table::create(state.ids.table(), kind, spec.clone())?);
    let ranges = splits::ranges(&table)?;
    state.tables.insert(table.id, table.clone());
    tablets::create(state, table.id, ranges);
    Ok(table)
}

/// Refuses to drop a table from now on, or allows it again.
///
/// # Errors
/// `NotFound`.
pub(super) fn protect(state: &mut ClusterState, name: &str, protected: bool) -> Result<()> {
    let id = state.existing(name)?.id;
    if protected {
        state.protected.insert(id);
    } else {
        state.protected.remove(&id);
    }
    Ok(())
}

/// Whether a table may be dropped.
///
/// # Errors
/// `FailedPrecondition` if it is protected.
pub(super) fn check_unprotected(state: &ClusterState, id: TableId) -> Result<()> {
    match state.tables.get(&id).filter(|_| state.protected.contains(&id)) {
        None => Ok(()),
        Some(table) => Err(Error::refused(format!(
            "table '{}' is protected from being dropped: switch that off first, with `stele admin unprotect {}`",
            table.name, table.name
        ))),
    }
}

/// Drops a raw table.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` if it is protected, or a definition makes or reads it; `InvalidArgument` for a system table.
pub(super) fn drop_raw(state: &mut ClusterState, name: &str, at: Micros) -> Result<()> {
    let table = state.existing(name)?.clone();
    match table.kind {
        TableKind::Raw => {}
        TableKind::Derived => {
            return Err(Error::refused(format!("table '{name}' is made by a definition: remove the definition instead")));
        }
        TableKind::System => return Err(Error::invalid(format!("table '{name}' belongs to Stele and stays"))),
    }
    check_unprotected(state, table.id)?;
    let readers: Vec<_> = state.definitions.iter().filter(|(_, d)| d.inputs.iter().any(|i| i == name)).map(|(n, _)| n.as_str()).collect();
    if !readers.is_empty() {
        return Err(Error::refused(format!("table '{name}' is read by {}: remove those definitions first", readers.join(", "))));
    }
    remove(state, table.id, at);
    Ok(())
}

/// Takes out a table with all that belongs to it but its definition. Its servers see it leave their orders.
pub(super) fn remove(state: &mut ClusterState, id: TableId, at: Micros) {
    copies::table_dropped(state, id, at);
    snapshots::table_dropped(state, id, at);
    state.protected.remove(&id);
    let tablets: Vec<_> = state.tablets_of(id).map(|(tablet, _)| tablet).collect();
    for tablet in tablets {
        procedures::tablet_dropped(state, tablet, at);
        if let Some(was) = state.tablets.remove(&tablet) {
            endings::add(state, tablet, &was);
        }
    }
    state.tables.remove(&id);
    super::retain(&mut state.claims, |_, c| c.table != id);
    state.derived.remove(&id);
    state.watermarks.remove(&id);
    state.ingesting.remove(&id);
}
