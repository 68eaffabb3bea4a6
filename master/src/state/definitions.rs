use super::graph::{Graph, check_acyclic};
use super::{ClusterState, Definition, Derived, claims, environments, names, tables};
use common::catalog::FollowedInput;
use common::environment;
use common::ids::TableId;
use common::rpc::master::PutDefinition;
use common::schema::{Table, TableKind, TableSpec};
use common::time::Micros;
use common::version::{RangeSet, VersionMap};
use common::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Creates, replaces and removes definitions.
///
/// # Errors
/// `InvalidArgument` for names given twice, missing inputs and circles, `AlreadyExists` where a table that no
/// definition makes has the name, `NotFound` for removing what is not there, `FailedPrecondition` for removing what is
/// read, and for removing or replacing a protected table.
pub(super) fn apply(state: &mut ClusterState, put: &[PutDefinition], remove: &[String], at: Micros) -> Result<()> {
    check_names(state, put, remove)?;
    check_graph(state, put, remove)?;
    let before = state.definitions.clone();
    for name in remove {
        if let Some(old) = state.definitions.get(name) {
            tables::check_unprotected(state, old.table)?;
            environments::leave(state, name, at);
        }
    }
    for one in put {
        put_one(state, one, at)?;
    }
    follow_inputs(state, at);
    if state.definitions != before {
        state.definitions_version += 1;
    }
    Ok(())
}

fn check_names(state: &ClusterState, put: &[PutDefinition], remove: &[String]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let full: Vec<_> = put.iter().map(full_name).collect();
    for name in full.iter().chain(remove) {
        if !seen.insert(name) {
            return Err(Error::invalid(format!("definition '{name}' is given twice")));
        }
    }
    for (one, full) in put.iter().zip(&full) {
        let name = &one.spec.name;
        names::check_dataset(name)?;
        if !environment::of(name).is_empty() {
            return Err(Error::invalid(format!("definition '{name}': two _ in a dataset stand before an environment's name; write one")));
        }
        if state.table_named(full).is_some_and(|t| t.kind != TableKind::Derived) {
            return Err(Error::already_exists(format!("table '{full}' exists already and is not made by a definition")));
        }
    }
    match remove.iter().find(|name| !state.definitions.contains_key(*name)) {
        Some(name) => Err(Error::not_found(format!("definition '{name}' does not exist"))),
        None => Ok(()),
    }
}

fn full_name(put: &PutDefinition) -> String {
    environment::name_in(&put.environment, &put.spec.name)
}

/// Checks the graph of definitions as it will be.
pub(super) fn check_graph(state: &ClusterState, put: &[PutDefinition], remove: &[String]) -> Result<()> {
    let kept = state.definitions.iter().filter(|(name, _)| !remove.contains(name)).map(|(name, d)| (name.clone(), d.inputs.clone()));
    let read: BTreeMap<String, Vec<String>> = kept.chain(put.iter().map(|p| (full_name(p), p.inputs.clone()))).collect();
    let resolved: BTreeMap<String, Vec<String>> = (read.iter())
        .map(|(name, inputs)| (name.clone(), inputs.iter().map(|input| meant(name, input, |own| read.contains_key(own))).collect()))
        .collect();
    let graph: Graph<'_> = resolved.iter().map(|(name, inputs)| (name.as_str(), inputs.iter().map(String::as_str).collect())).collect();
    let others: BTreeSet<_> = state.tables.values().filter(|t| t.kind != TableKind::Derived).map(|t| t.name.as_str()).collect();
    for (name, inputs) in &graph {
        let Some(missing) = inputs.iter().find(|i| !others.contains(**i) && !graph.contains_key(**i)) else { continue };
        return Err(if remove.iter().any(|r| r == missing) {
            Error::refused(format!("definition '{missing}' is read by '{name}': remove or change that too"))
        } else {
            Error::invalid(format!("definition '{name}' reads '{missing}', which does not exist: create that table first"))
        });
    }
    check_acyclic(&graph)
}

/// The table that the definition of `reader` means by the name of an input: one of its own environment, if there is.
fn meant(reader: &str, input: &str, exists: impl Fn(&str) -> bool) -> String {
    let own = environment::name_in(environment::of(reader), input);
    if exists(&own) { own } else { input.to_owned() }
}

fn put_one(state: &mut ClusterState, put: &PutDefinition, at: Micros) -> Result<()> {
    let name = full_name(put);
    let spec = TableSpec { name: name.clone(), ..put.spec.clone() };
    let old = state.definitions.get(&name).cloned();
    let table = match &old {
        Some(d) if keep_table(state, d.table, &spec) => {
            if d.fingerprint != put.fingerprint {
                recompute(state, d.table, at);
            }
            d.table
        }
        Some(d) => {
            tables::check_unprotected(state, d.table)?;
            environments::leave(state, &name, at);
            create_table(state, &spec)?
        }
        None => create_table(state, &spec)?,
    };
    let inputs: Vec<_> = put.inputs.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let mut new = Definition {
        table,
        document: put.document.clone(),
        fingerprint: put.fingerprint.clone(),
        inputs,
        paused: old.as_ref().is_some_and(|d| d.paused),
        applied_at: old.as_ref().map_or(at, |d| d.applied_at),
    };
    if old.as_ref() != Some(&new) {
        new.applied_at = at;
    }
    state.definitions.insert(name, new);
    Ok(())
}

fn create_table(state: &mut ClusterState, spec: &TableSpec) -> Result<TableId> {
    let id = tables::create(state, spec, TableKind::Derived)?.id;
    state.derived.insert(id, Derived::default());
    Ok(id)
}

/// Whether the table can stay as it is under `spec`; takes over what is only said for people.
fn keep_table(state: &mut ClusterState, id: TableId, spec: &TableSpec) -> bool {
    let Some(table) = state.tables.get_mut(&id) else { return false };
    let same = TableSpec { description: table.spec.description.clone(), ..spec.clone() } == table.spec;
    if same && table.spec != *spec {
        *table = Arc::new(Table { spec: spec.clone(), ..Table::clone(table) });
    }
    same
}

/// Marks everything ever published due; the table stays, its rows are served until they are replaced.
fn recompute(state: &mut ClusterState, table: TableId, at: Micros) {
    claims::abort_all(state, table, at);
    if let Some(d) = state.derived.get_mut(&table) {
        d.forced = d.forced.union(&d.windows);
    }
}

/// Gives each derived table one entry an input. Who loses an input (it was replaced, or is not read any
/// more) loses the dirty set with it, so all that it has published is due.
pub(super) fn follow_inputs(state: &mut ClusterState, at: Micros) {
    let ids: BTreeMap<_, _> = state.tables.values().map(|t| (t.name.clone(), t.id)).collect();
    let mut lost = Vec::new();
    for (name, definition) in &state.definitions {
        let Some(derived) = state.derived.get_mut(&definition.table) else { continue };
        let wanted: Vec<_> =
            (definition.inputs.iter()).filter_map(|input| ids.get(&meant(name, input, |own| ids.contains_key(own))).copied()).collect();
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut derived.inputs).into_iter().partition(|f| wanted.contains(&f.input));
        derived.inputs = kept;
        for followed in gone {
            derived.forced = derived.forced.union(&followed.dirty);
            lost.push(definition.table);
        }
        for input in wanted {
            if !derived.inputs.iter().any(|f| f.input == input) {
                derived.inputs.push(FollowedInput { input, cursor: VersionMap::default(), dirty: RangeSet::empty() });
            }
        }
        derived.inputs.sort_by_key(|f| f.input);
    }
    for table in lost {
        recompute(state, table, at);
    }
}

fn of_name<'a>(state: &'a mut ClusterState, name: &str) -> Result<&'a mut Definition> {
    state.definitions.get_mut(name).ok_or_else(|| Error::not_found(format!("no definition makes a table '{name}'")))
}

/// Pauses or resumes a table's runs; one under way goes on.
///
/// # Errors
/// `NotFound`.
pub(super) fn pause(state: &mut ClusterState, name: &str, paused: bool) -> Result<()> {
    of_name(state, name)?.paused = paused;
    Ok(())
}

/// Marks windows due by force.
///
/// # Errors
/// `NotFound`.
pub(super) fn mark_dirty(state: &mut ClusterState, name: &str, windows: &RangeSet) -> Result<()> {
    let table = of_name(state, name)?.table;
    if let Some(d) = state.derived.get_mut(&table) {
        d.forced = d.forced.union(windows);
    }
    Ok(())
}
