use super::{ClusterState, Derived, Step, Tablet, UnderWay};
use crate::entry::WHY_LOAD;
use common::catalog::{self, Catalog, Published};
use common::ids::{Incarnation, Seq, ServerId, TableId, TabletId};
use common::rpc::master::{Desired, SplitBy};
use common::schema::Table;
use common::version::RangeSet;

/// The catalog that gateways watch.
#[must_use]
pub fn catalog(state: &ClusterState) -> Catalog {
    Catalog {
        version: state.version,
        tables: state.tables.values().map(|t| Table::clone(t)).collect(),
        tablets: tablets(state),
        servers: servers(state),
        definitions: state.definitions.iter().map(|(name, d)| definition(name, d)).collect(),
        published: state.derived.iter().map(|(id, d)| published(state, *id, d)).collect(),
        watermarks: state.watermarks.iter().map(|(id, at)| (*id, *at)).collect(),
        ingesting: state.ingesting.iter().copied().collect(),
        run_records: state.outbox.iter().cloned().collect(),
    }
}

fn tablets(state: &ClusterState) -> Vec<catalog::Tablet> {
    let mut all: Vec<_> = (state.tablets.iter())
        .map(|(id, t)| catalog::Tablet {
            id: *id,
            table: t.table,
            range: t.range.clone(),
            epoch: t.epoch,
            server: t.owner.map(|(server, _)| server),
            open: t.open,
        })
        .collect();
    all.sort_by(|a, b| (a.table, &a.range.start).cmp(&(b.table, &b.range.start)));
    all
}

fn servers(state: &ClusterState) -> Vec<catalog::Server> {
    let live = state.servers.iter().filter(|(_, s)| s.live);
    live.map(|(id, s)| catalog::Server { id: *id, address: s.address.clone() }).collect()
}

fn definition(name: &str, d: &super::Definition) -> catalog::Definition {
    catalog::Definition {
        name: name.to_owned(),
        table: d.table,
        document: d.document.clone(),
        fingerprint: d.fingerprint.clone(),
        paused: d.paused,
        applied_at: d.applied_at,
    }
}

fn published(state: &ClusterState, table: TableId, d: &Derived) -> Published {
    let claims = state.claims.values().filter(|c| c.table == table);
    Published {
        table,
        version: d.version,
        windows: d.windows.clone(),
        complete: d.complete.clone(),
        forced: d.forced.clone(),
        inputs: d.inputs.clone(),
        claimed: claims.fold(RangeSet::empty(), |all, c| all.union(&c.windows)),
        runs: d.runs.clone(),
    }
}

/// The tablets that one life of a server should hold.
#[must_use]
pub fn desired(state: &ClusterState, server: ServerId, incarnation: Incarnation) -> Vec<Desired> {
    let mine = state.tablets.iter().filter(|(_, t)| t.owner == Some((server, incarnation)) && !is_closing(state, t));
    mine.filter_map(|(id, t)| desired_tablet(state, *id, t)).collect()
}

fn desired_tablet(state: &ClusterState, id: TabletId, tablet: &Tablet) -> Option<Desired> {
    let derived = state.derived.get(&tablet.table);
    Some(Desired {
        tablet: id,
        range: tablet.range.clone(),
        epoch: tablet.epoch,
        table: Table::clone(state.tables.get(&tablet.table)?),
        pin: pin(state, tablet),
        runs: derived.map(|d| d.runs.clone()).unwrap_or_default(),
        aborted: derived.map(|d| d.aborted.iter().map(|a| a.run).collect()).unwrap_or_default(),
        fences: fences(state, tablet),
        split: split(state, tablet),
    })
}

/// Whether a procedure wants the tablet closed: what is missing from its orders a server closes.
fn is_closing(state: &ClusterState, tablet: &Tablet) -> bool {
    under_way(state, tablet).is_some_and(|p| p.step != Step::Choosing)
}

fn under_way<'a>(state: &'a ClusterState, tablet: &Tablet) -> Option<&'a UnderWay> {
    state.procedures.get(&tablet.procedure?)
}

/// How the owner is to choose a key to split at.
fn split(state: &ClusterState, tablet: &Tablet) -> Option<SplitBy> {
    let split = under_way(state, tablet).filter(|p| p.step == Step::Choosing)?;
    Some(if split.why == WHY_LOAD { SplitBy::Load } else { SplitBy::Size })
}

fn fences(state: &ClusterState, tablet: &Tablet) -> Vec<(ServerId, Incarnation, u64)> {
    let ends = tablet.logs.iter().filter_map(|l| Some((l.server, l.incarnation, state.fence_of(l.server, l.incarnation)?)));
    ends.collect()
}

/// The oldest seq of a tablet that somebody still reads changes from: a follower of the table, or a run
/// that takes its difference against an older version of the table it writes.
fn pin(state: &ClusterState, tablet: &Tablet) -> Option<Seq> {
    let followers = state.derived.values().flat_map(|d| &d.inputs).filter(|f| f.input == tablet.table);
    let cursors = followers.map(|f| f.cursor.lowest(&tablet.range));
    let bases = state.claims.values().filter(|c| c.table == tablet.table).map(|c| c.base);
    cursors.chain(bases).min()
}
