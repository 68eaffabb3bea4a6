use super::claims::{check_fingerprint, end};
use super::{Claim, ClusterState, Derived};
use common::catalog::{FollowedInput, RunRecord};
use common::ids::{RunId, Seq, TableId};
use common::rpc::master::{InputProgress, Publish};
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, Result};

/// Run records that wait for `system.runs`; past it the oldest are lost, so that an unwritable log stops no run.
const MAX_OUTBOX: usize = 10_000;

/// Publishes a run: one new version if it changed anything, and the books of its windows and inputs.
///
/// # Errors
/// `FailedPrecondition` if the claim has ended, the definition or an input was replaced, or one of the run's own
/// windows was published after its base; `InvalidArgument` for windows outside the claim.
pub(super) fn publish(state: &mut ClusterState, publish: &Publish, at: Micros) -> Result<Seq> {
    let claim = state.claims.get(&publish.claim).cloned();
    let claim = claim.ok_or_else(|| Error::refused(format!("claim {} has ended: the run was aborted", publish.claim)))?;
    check_fingerprint(state, claim.table, &publish.fingerprint)?;
    check_inputs(state, &publish.inputs)?;
    let derived = derived_mut(state, claim.table)?;
    check_windows(derived, &claim, &publish.windows)?;
    let version = if publish.changed { derived.version.next() } else { derived.version };
    if publish.changed {
        derived.version = version;
        derived.published_at = at;
        derived.runs.push((claim.run, version));
        derived.since_base.push((publish.windows.clone(), version));
    }
    note_windows(derived, publish);
    progress(derived, &publish.inputs, &publish.windows);
    end(state, publish.claim);
    let (status, version_logged) = if publish.changed { ("published", version) } else { ("unchanged", Seq::ZERO) };
    let ended_at = if publish.record.ended_at == Micros::default() { at } else { publish.record.ended_at };
    let record = RunRecord { run: claim.run, status: status.into(), version: version_logged, ended_at, ..*publish.record.clone() };
    log_run(state, record);
    Ok(version)
}

/// Moves cursors and dirty sets of a table where no run is due.
///
/// # Errors
/// As [`publish`], for the definition and its inputs.
pub(super) fn move_cursors(state: &mut ClusterState, table: TableId, fingerprint: &str, inputs: &[InputProgress]) -> Result<()> {
    check_fingerprint(state, table, fingerprint)?;
    check_inputs(state, inputs)?;
    progress(derived_mut(state, table)?, inputs, &RangeSet::empty());
    Ok(())
}

fn derived_mut(state: &mut ClusterState, table: TableId) -> Result<&mut Derived> {
    state.derived.get_mut(&table).ok_or_else(|| Error::internal(format!("derived table {table} has no books")))
}

fn check_inputs(state: &ClusterState, inputs: &[InputProgress]) -> Result<()> {
    match inputs.iter().find(|i| !state.tables.contains_key(&i.input)) {
        Some(gone) => Err(Error::refused(format!("input table {} was replaced or dropped: run again", gone.input))),
        None => Ok(()),
    }
}

fn check_windows(derived: &Derived, claim: &Claim, windows: &RangeSet) -> Result<()> {
    if !windows.subtract(&claim.windows).is_empty() {
        return Err(Error::invalid(format!("run {}: windows to publish lie outside its claim", claim.run)));
    }
    let mut later = derived.since_base.iter().filter(|(_, version)| *version > claim.base);
    match later.find(|(published, _)| claim.overlaps(published, false)) {
        Some((_, version)) => Err(Error::refused(format!(
            "run {}: version {version} has published its windows after base {}: run again",
            claim.run, claim.base
        ))),
        None => Ok(()),
    }
}

fn note_windows(derived: &mut Derived, publish: &Publish) {
    derived.windows = derived.windows.union(&publish.windows);
    derived.complete = derived.complete.subtract(&publish.windows).union(&publish.complete.intersect(&publish.windows));
    derived.forced = derived.forced.subtract(&publish.windows);
}

/// Cursors are taken as given, even if another run's was further: this run has cleaned windows as of
/// *its* cursor, and what came after it must be looked at again for them.
fn progress(derived: &mut Derived, inputs: &[InputProgress], cleaned: &RangeSet) {
    for progress in inputs {
        let dirty_of = |old: &RangeSet| old.subtract(cleaned).union(&progress.newly_dirty);
        match derived.inputs.iter_mut().find(|f| f.input == progress.input) {
            Some(followed) => {
                followed.dirty = dirty_of(&followed.dirty);
                followed.cursor = progress.cursor.clone();
            }
            None => derived.inputs.push(FollowedInput {
                input: progress.input,
                cursor: progress.cursor.clone(),
                dirty: dirty_of(&RangeSet::empty()),
            }),
        }
    }
    derived.inputs.sort_by_key(|f| f.input);
}

/// Forgets what was published up to the oldest base of the table's live claims: no check needs it.
pub(super) fn forget_before_bases(state: &mut ClusterState, table: TableId) {
    let oldest = state.claims.values().filter(|c| c.table == table).map(|c| c.base).min().unwrap_or(Seq::MAX);
    if let Some(derived) = state.derived.get_mut(&table) {
        derived.since_base.retain(|(_, version)| *version > oldest);
    }
}

/// Queues a run record, once a run: what is said first counts, so a runner that does not know that its
/// publish arrived cannot call it failed.
pub(super) fn log_run(state: &mut ClusterState, record: RunRecord) {
    if state.outbox.iter().any(|r| r.run == record.run) {
        return;
    }
    state.outbox.push_back(record);
    while state.outbox.len() > MAX_OUTBOX {
        state.outbox.pop_front();
    }
}

/// Forgets runs that all tablets have applied or dropped.
pub(super) fn settled(state: &mut ClusterState, table: TableId, applied: Seq, dropped: &[RunId]) {
    if let Some(derived) = state.derived.get_mut(&table) {
        derived.runs.retain(|(_, version)| *version > applied);
        derived.aborted.retain(|a| !dropped.contains(&a.run));
    }
}
