use super::{Aborted, Claim, ClusterState, publishing};
use common::catalog::RunRecord;
use common::ids::{ClaimId, TableId};
use common::rpc::master::Reply;
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, Result};

/// What a runner asks for.
pub(super) struct Wanted<'a> {
    pub(super) table: TableId,
    pub(super) fingerprint: &'a str,
    pub(super) windows: &'a RangeSet,
    pub(super) whole: bool,
    pub(super) runner: &'a str,
}

/// Gives a claim with its run and base version.
///
/// # Errors
/// `NotFound`, `InvalidArgument` for a claim of nothing, `FailedPrecondition` if the definition is another one or
/// rests, or another live claim overlaps.
pub(super) fn claim(state: &mut ClusterState, wanted: &Wanted<'_>) -> Result<Reply> {
    check_fingerprint(state, wanted.table, wanted.fingerprint)?;
    if !wanted.whole && wanted.windows.is_empty() {
        return Err(Error::invalid(format!("a claim of no windows of table {}", wanted.table)));
    }
    let definition = state.definitions.iter().find(|(_, d)| d.table == wanted.table);
    if let Some((name, _)) = definition.filter(|(_, d)| d.paused) {
        return Err(Error::refused(format!("table '{name}' is paused")));
    }
    if state.derived.get(&wanted.table).is_some_and(|d| d.unverified) {
        return Err(Error::refused(format!(
            "table {} waits until all its tablets are open: the masters' state was restored",
            wanted.table
        )));
    }
    let mut others = state.claims.iter().filter(|(_, c)| c.table == wanted.table);
    if let Some((id, other)) = others.find(|(_, c)| c.overlaps(wanted.windows, wanted.whole)) {
        return Err(Error::refused(format!("windows are claimed already: claim {id} of run {} by '{}'", other.run, other.runner)));
    }
    let base = state.derived.get(&wanted.table).map(|d| d.version).unwrap_or_default();
    let (id, run) = (state.ids.claim(), state.ids.run());
    let claim = Claim {
        table: wanted.table,
        run,
        fingerprint: wanted.fingerprint.to_owned(),
        windows: if wanted.whole { RangeSet::all() } else { wanted.windows.clone() },
        whole: wanted.whole,
        base,
        runner: wanted.runner.to_owned(),
    };
    state.claims.insert(id, claim);
    Ok(Reply::Claimed { claim: id, run, base })
}

/// Refuses work on another definition than the applied one.
///
/// # Errors
/// `NotFound` if no definition makes the table (any more), `FailedPrecondition` for another fingerprint.
pub(super) fn check_fingerprint(state: &ClusterState, table: TableId, fingerprint: &str) -> Result<()> {
    match state.definitions.iter().find(|(_, d)| d.table == table) {
        None => Err(Error::not_found(format!("no definition makes table {table}: it was replaced or removed"))),
        Some((_, d)) if d.fingerprint == fingerprint => Ok(()),
        Some((name, d)) => Err(Error::refused(format!(
            "the definition of '{name}' has changed: its fingerprint is {}, not {fingerprint}; compile it again",
            d.fingerprint
        ))),
    }
}

/// Takes out a claim whose run was published.
pub(super) fn end(state: &mut ClusterState, id: ClaimId) {
    if let Some(claim) = state.claims.remove(&id) {
        publishing::forget_before_bases(state, claim.table);
    }
}

/// Ends a claim and aborts its run, so that tablets drop its staged rows; nothing if it has ended.
pub(super) fn abort(state: &mut ClusterState, id: ClaimId, at: Micros) {
    let Some(claim) = state.claims.get(&id) else { return };
    let (table, run) = (claim.table, claim.run);
    if let Some(derived) = state.derived.get_mut(&table) {
        derived.aborted.push(Aborted { run, at });
    }
    end(state, id);
}

/// Aborts every run of a table.
pub(super) fn abort_all(state: &mut ClusterState, table: TableId, at: Micros) {
    let of_table: Vec<_> = state.claims.iter().filter(|(_, c)| c.table == table).map(|(id, _)| *id).collect();
    of_table.into_iter().for_each(|id| abort(state, id, at));
}

/// Ends a claim at its runner's wish. Repeating it, also after the claim has expired, only adds the record.
///
/// # Errors
/// `InvalidArgument` for the record of a run that was never given.
pub(super) fn abandon(state: &mut ClusterState, id: ClaimId, record: Option<&RunRecord>, at: Micros) -> Result<()> {
    let run = state.claims.get(&id).map(|c| c.run);
    abort(state, id, at);
    let Some(record) = record else { return Ok(()) };
    let run = run.unwrap_or(record.run);
    if !state.ids.has_run(run) {
        return Err(Error::invalid(format!("run {run} was never given")));
    }
    publishing::log_run(state, RunRecord { run, ..record.clone() });
    Ok(())
}
