use super::{Memory, Now};
use crate::entry::Change;
use crate::state::{ClusterState, Derived, Tablet};
use crate::timing::KEEP_ABORTED;
use common::ids::{RunId, Seq, TableId, TabletId};
use common::rpc::master::TabletState;

/// Tablets whose owner has opened them.
pub(super) fn opened(memory: &Memory) -> Option<Change> {
    let is_open = |id: TabletId, t: &Tablet| memory.report_on(id, t).is_some_and(|r| r.state == TabletState::Open);
    let opened: Vec<_> = memory.index.opening().filter(|(id, t)| is_open(*id, t)).map(|(id, t)| (id, t.epoch)).collect();
    (!opened.is_empty()).then_some(Change::TabletsOpened(opened))
}

/// Runs that every tablet of their table has applied, or has long known to be aborted.
pub(super) fn settled(state: &ClusterState, memory: &Memory, now: Now) -> Vec<Change> {
    state.derived.iter().filter_map(|(id, d)| settled_in(*id, d, memory, now)).collect()
}

fn settled_in(table: TableId, derived: &Derived, memory: &Memory, now: Now) -> Option<Change> {
    if derived.runs.is_empty() && derived.aborted.is_empty() {
        return None;
    }
    let applied = applied_everywhere(table, memory)?;
    let long_ago = now.wall.before(KEEP_ABORTED);
    let dropped: Vec<RunId> = derived.aborted.iter().filter(|a| a.at < long_ago).map(|a| a.run).collect();
    let moves = derived.runs.first().is_some_and(|(_, version)| *version <= applied);
    (moves || !dropped.is_empty()).then_some(Change::Settled { table, applied, dropped })
}

/// Derived tables of a restored state that can be computed on, or cannot.
pub(super) fn verified(state: &ClusterState, memory: &Memory) -> Vec<Change> {
    let verified = state.derived.iter().filter(|(_, d)| d.unverified).filter_map(|(table, derived)| {
        let paused = state.definitions.values().any(|d| d.table == *table && d.paused);
        let report = |(id, t)| memory.report_on(id, t).filter(|r| r.state == TabletState::Open);
        let reports: Vec<_> = state.tablets_of(*table).map(report).collect();
        let ahead = reports.iter().flatten().any(|r| r.visible_seq > derived.version);
        let all = reports.iter().all(Option::is_some);
        (if ahead { !paused } else { all }).then_some(Change::Verified { table: *table, ahead })
    });
    verified.collect()
}

/// The lowest version that all tablets of a table show; `None` unless all of them are open.
fn applied_everywhere(table: TableId, memory: &Memory) -> Option<Seq> {
    let mut lowest = Seq::MAX;
    for (id, tablet) in memory.index.of_table(table) {
        let report = memory.report_on(id, tablet).filter(|r| r.state == TabletState::Open)?;
        lowest = lowest.min(report.visible_seq);
    }
    Some(lowest)
}
