//! Environments of derived tables, and what changes have replaced.
//!
//! Environments are told apart by the names of their tables ([`common::environment`]), so that putting one in the place of
//! production is renaming: readers keep reading a name, its rows are others from one version of the state to the next.

use super::{ClusterState, claims, definitions, tables};
use common::environment::{self, NEXT, UNDO, name_in, split};
use common::rpc::master::UNDO_TTL;
use common::schema::{Table, TableSpec};
use common::time::Micros;
use common::{Error, Result};
use std::sync::Arc;

/// Refuses a change that was planned on other definitions.
///
/// # Errors
/// `FailedPrecondition`.
pub(super) fn check_base(state: &ClusterState, base: Option<u64>) -> Result<()> {
    match base.filter(|base| *base != state.definitions_version) {
        None => Ok(()),
        Some(base) => Err(Error::refused(format!(
            "definitions have changed since this was planned (then {base}, now {}): plan again",
            state.definitions_version
        ))),
    }
}

/// Takes a definition out of its environment: one of production is retired, others are dropped with their tables.
pub(super) fn leave(state: &mut ClusterState, name: &str, at: Micros) {
    let Some(mut definition) = state.definitions.remove(name) else { return };
    if !environment::of(name).is_empty() {
        return tables::remove(state, definition.table, at);
    }
    claims::abort_all(state, definition.table, at);
    // The version that the change makes: all that it replaces is kept together.
    let kept = name_in(&format!("{UNDO}{}", state.definitions_version + 1), name);
    rename(state, &definition, &kept);
    if let Some(derived) = state.derived.get_mut(&definition.table) {
        // It follows nothing any more, so that nobody keeps changes for it: put back, it is compared whole.
        derived.inputs.clear();
        derived.forced = derived.forced.union(&derived.windows);
    }
    definition.applied_at = at;
    state.retired.insert(kept, definition);
}

fn rename(state: &mut ClusterState, definition: &super::Definition, name: &str) {
    if let Some(table) = state.tables.get_mut(&definition.table) {
        let spec = TableSpec { name: name.to_owned(), ..table.spec.clone() };
        *table = Arc::new(Table { name: name.to_owned(), spec, ..Table::clone(table) });
    }
}

/// Puts an environment's definitions in the place of production's.
///
/// # Errors
/// `InvalidArgument` for production, `NotFound` for an environment without definitions, `FailedPrecondition` if they are not those
/// that are expected, or if the tables they read are not there any more.
pub(super) fn promote(state: &mut ClusterState, environment: &str, expected: &[(String, String)], at: Micros) -> Result<()> {
    let names = members(state, environment)?;
    let found: Vec<_> = (names.iter())
        .filter_map(|name| state.definitions.get(name).or_else(|| state.retired.get(name)).map(|d| (name.clone(), d.fingerprint.clone())))
        .collect();
    let mut expected = expected.to_vec();
    expected.sort();
    if found != expected {
        return Err(Error::refused(format!("environment '{environment}' has other definitions than expected: look again")));
    }
    for name in &names {
        let plain = split(name).1;
        // Protection and pauses are of the name: somebody said so of what it serves.
        let protected = state.definitions.get(&plain).is_some_and(|old| state.protected.remove(&old.table));
        let paused = state.definitions.get(&plain).is_some_and(|old| old.paused);
        leave(state, &plain, at);
        let Some(mut definition) = state.definitions.remove(name).or_else(|| state.retired.remove(name)) else { continue };
        rename(state, &definition, &plain);
        if protected {
            state.protected.insert(definition.table);
        }
        definition.applied_at = at;
        definition.paused |= paused;
        state.definitions.insert(plain, definition);
    }
    state.definitions_version += 1;
    definitions::check_graph(state, &[], &[])?;
    definitions::follow_inputs(state, at);
    Ok(())
}

/// Drops an environment, or what a change has replaced.
///
/// # Errors
/// `InvalidArgument` for production, `NotFound` for an environment without definitions, `FailedPrecondition` if one of its tables is
/// protected.
pub(super) fn drop(state: &mut ClusterState, environment: &str, at: Micros) -> Result<()> {
    for name in members(state, environment)? {
        let Some(definition) = state.definitions.remove(&name).or_else(|| state.retired.remove(&name)) else { continue };
        tables::check_unprotected(state, definition.table)?;
        tables::remove(state, definition.table, at);
    }
    state.definitions_version += 1;
    definitions::follow_inputs(state, at);
    Ok(())
}

/// Drops what has been retired for longer than it can be undone.
pub(super) fn forget_retired(state: &mut ClusterState, at: Micros) {
    for name in overdue(state, at) {
        if let Some(definition) = state.retired.remove(&name).filter(|d| !state.protected.contains(&d.table)) {
            tables::remove(state, definition.table, at);
        }
    }
}

/// Retired definitions whose time to be undone is over.
#[must_use]
pub fn overdue(state: &ClusterState, at: Micros) -> Vec<String> {
    let is_over = |d: &&super::Definition| !state.protected.contains(&d.table) && d.applied_at <= at.before(UNDO_TTL);
    state.retired.iter().filter(|(_, d)| is_over(d)).map(|(name, _)| name.clone()).collect()
}

/// The names of an environment's definitions, in order.
fn members(state: &ClusterState, environment: &str) -> Result<Vec<String>> {
    if environment.is_empty() {
        return Err(Error::invalid("production is not an environment that can be promoted or dropped"));
    }
    let names = state.definitions.keys().chain(state.retired.keys());
    let names: Vec<_> = names.filter(|name| environment::of(name) == environment).cloned().collect();
    match names.is_empty() {
        false => Ok(names),
        true if environment == NEXT => Err(Error::not_found("no change is being built")),
        true => Err(Error::not_found(format!("there is no environment '{environment}'"))),
    }
}
