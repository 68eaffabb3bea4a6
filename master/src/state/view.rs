//! What gateways and tablet servers see of the state, and what of it changes from one state to the next.

use super::{ClusterState, Derived, Step, Tablet, UnderWay};
use crate::entry::WHY_LOAD;
use common::catalog::{self, Catalog, CatalogChanges, Published};
use common::changes::Part;
use common::ids::{Incarnation, ProcedureId, Seq, ServerId, TableId, TabletId};
use common::rpc::master::{Desired, SplitBy};
use common::version::RangeSet;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use std::collections::BTreeSet;

/// The catalog that gateways watch.
#[must_use]
pub fn catalog(state: &ClusterState) -> Catalog {
    Catalog::default().after(catalog_changes(None, state)).unwrap_or_default()
}

/// What brings a gateway's catalog from one state to another, in the time of what differs; `None`: from nothing.
#[must_use]
pub fn catalog_changes(from: Option<&ClusterState>, to: &ClusterState) -> CatalogChanges {
    let base = from.map(|from| from.version);
    let nothing = ClusterState::default();
    let from = from.unwrap_or(&nothing);
    let same_watermarks = from.watermarks == to.watermarks;
    CatalogChanges {
        base,
        version: to.version,
        tables: part(&from.tables, &to.tables, |_, table| Some(table.clone())),
        tablets: part(&from.tablets, &to.tablets, |id, tablet| Some(shown(*id, tablet))),
        servers: part(&from.servers, &to.servers, |id, s| s.live.then(|| catalog::Server { id: *id, address: s.address.clone() })),
        definitions: part(&from.definitions, &to.definitions, |name, d| Some(definition(name, d))),
        retired: part(&from.retired, &to.retired, |name, d| Some(definition(name, d))),
        definitions_version: to.definitions_version,
        published: published_part(from, to),
        watermarks: (base.is_none() || !same_watermarks).then(|| to.watermarks.iter().map(|(id, at)| (*id, *at)).collect()),
        ingesting: (base.is_none() || from.ingesting != to.ingesting).then(|| to.ingesting.iter().copied().collect()),
        protected: (base.is_none() || from.protected != to.protected).then(|| to.protected.iter().copied().collect()),
        run_records: (base.is_none() || from.outbox != to.outbox).then(|| to.outbox.iter().cloned().collect()),
    }
}

/// What `show` makes of two maps, told apart; `None` is shown to nobody.
fn part<K, V, T>(from: &OrdMap<K, V>, to: &OrdMap<K, V>, show: impl Fn(&K, &V) -> Option<T>) -> Part<T>
where
    K: Ord + Clone,
    V: Clone + PartialEq,
    T: common::changes::Keyed<Key = K>,
{
    let mut part = Part::default();
    for (key, value) in differences(from, to) {
        match value.and_then(|value| show(key, value)) {
            Some(item) => part.put.push(item),
            None => part.gone.push(key.clone()),
        }
    }
    part
}

/// The keys that are new, other or gone in `to`, with what is there now.
pub(crate) fn differences<'a, K: Ord, V: PartialEq>(
    from: &'a OrdMap<K, V>,
    to: &'a OrdMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>)> {
    from.diff(to).map(|item| match item {
        DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => (key, Some(value)),
        DiffItem::Remove(key, _) => (key, None),
    })
}

fn shown(id: TabletId, t: &Tablet) -> catalog::Tablet {
    let server = t.owner.map(|(server, _)| server);
    catalog::Tablet { id, table: t.table, range: t.range.clone(), epoch: t.epoch, server, open: t.open }
}

/// Where derived tables stand depends on their claims too.
fn published_part(from: &ClusterState, to: &ClusterState) -> Part<Published> {
    let mut part = Part::default();
    for table in books_changed(from, to) {
        match to.derived.get(&table) {
            Some(derived) => part.put.push(published(to, table, derived)),
            None => part.gone.push(table),
        }
    }
    part
}

/// Derived tables whose books or claims differ.
fn books_changed(from: &ClusterState, to: &ClusterState) -> BTreeSet<TableId> {
    let books = differences(&from.derived, &to.derived).map(|(id, _)| *id);
    let claims = differences(&from.claims, &to.claims).map(|(id, _)| id);
    let claimed = claims.flat_map(|id| from.claims.get(id).into_iter().chain(to.claims.get(id))).map(|c| c.table);
    books.chain(claimed).collect()
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
        published_at: d.published_at,
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
    state.tablets.keys().filter_map(|id| desired_tablet(state, *id, (server, incarnation))).collect()
}

/// What one life of a server should know of a tablet; `None`: it should not hold it.
#[must_use]
pub fn desired_tablet(state: &ClusterState, id: TabletId, life: (ServerId, Incarnation)) -> Option<Desired> {
    let tablet = state.tablets.get(&id).filter(|t| t.owner == Some(life) && !is_closing(state, t))?;
    let derived = state.derived.get(&tablet.table);
    Some(Desired {
        tablet: id,
        range: tablet.range.clone(),
        epoch: tablet.epoch,
        table: tablet.table,
        pin: pin(state, tablet),
        runs: derived.map(|d| d.runs.clone()).unwrap_or_default(),
        aborted: derived.map(|d| d.aborted.iter().map(|a| a.run).collect()).unwrap_or_default(),
        fences: fences(state, tablet),
        split: split(state, tablet),
        flush: flush(state, tablet),
    })
}

/// All tablets of which a server may have to hear something else in `to` than in `from`: in the time of what differs, but for
/// books of derived tables, snapshots and fences, which take a walk over all tablets.
#[must_use]
pub fn touched(from: &ClusterState, to: &ClusterState) -> BTreeSet<TabletId> {
    let mut touched: BTreeSet<_> = differences(&from.tablets, &to.tablets).map(|(id, _)| *id).collect();
    for (id, _) in differences(&from.procedures, &to.procedures) {
        let either = from.procedures.get(id).into_iter().chain(to.procedures.get(id));
        touched.extend(either.flat_map(UnderWay::tablets));
    }
    let mut tables = books_changed(from, to);
    for (id, _) in differences(&from.snapshots, &to.snapshots) {
        tables.extend(from.snapshots.get(id).into_iter().chain(to.snapshots.get(id)).map(|s| s.table.id));
    }
    let books: Vec<_> = tables.iter().flat_map(|id| from.derived.get(id).into_iter().chain(to.derived.get(id))).collect();
    tables.extend(books.iter().flat_map(|d| &d.inputs).map(|f| f.input));
    let fenced = from.fences != to.fences;
    if fenced || !tables.is_empty() {
        let meant = to.tablets.iter().filter(|(_, t)| tables.contains(&t.table) || fenced && !t.logs.is_empty());
        touched.extend(meant.map(|(id, _)| *id));
    }
    touched
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

/// The newest snapshot that lacks something of the tablet.
fn flush(state: &ClusterState, tablet: &Tablet) -> Option<ProcedureId> {
    state.snapshots_under_way().iter().find(|(_, s)| s.wants(tablet.table, &tablet.range)).map(|(id, _)| *id)
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
