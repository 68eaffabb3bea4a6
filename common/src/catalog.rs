//! The cluster as gateways see it: tables, tablets, servers, definitions and published versions.
//! The master's state machine makes it; nobody else changes it.

mod tables;
mod tablets;

pub use tables::Tables;
pub use tablets::Tablets;

use crate::changes::{Keyed, Part};
use crate::environment::{self, name_in};
use crate::ids::{Epoch, RunId, Seq, ServerId, TableId, TabletId};
use crate::key::KeyRange;
use crate::schema::{ColumnSpec, DATA_FAMILY, KeyPartSpec, Table, TableSpec};
use crate::time::Micros;
use crate::value::ValueType;
use crate::version::{RangeSet, VersionMap};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything at one catalog version. Copying one is cheap: what two versions have alike is shared. On the
/// wire it is the changes from nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "CatalogChanges", into = "CatalogChanges")]
pub struct Catalog {
    /// Grows with every change.
    pub version: u64,
    /// All tables that exist.
    pub tables: Tables,
    /// All tablets of those tables.
    pub tablets: Arc<Tablets>,
    /// Tablet servers that have a live incarnation.
    pub servers: OrdMap<ServerId, Arc<Server>>,
    /// Applied definitions, by the names of their tables.
    pub definitions: OrdMap<String, Arc<Definition>>,
    /// Definitions that others have taken the place of, with tables that rest until the time to undo is over.
    pub retired: OrdMap<String, Arc<Definition>>,
    /// Grows with every change of definitions: what a plan of changes is based on.
    pub definitions_version: u64,
    /// Where each derived table stands.
    pub published: OrdMap<TableId, Arc<Published>>,
    /// Watermarks set by loaders.
    pub watermarks: OrdMap<TableId, Micros>,
    /// Raw tables with an open bulk ingest.
    pub ingesting: OrdSet<TableId>,
    /// Tables that cannot be dropped.
    pub protected: OrdSet<TableId>,
    /// Run records that are not yet in `system.runs`.
    pub run_records: Arc<Vec<RunRecord>>,
}

impl Catalog {
    /// The table of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.named(name)
    }

    /// The table of this id.
    #[must_use]
    pub fn table_by_id(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.get(id)
    }

    /// The tablets of a table, in key order.
    #[must_use]
    pub fn tablets_of(&self, table: TableId) -> &[Tablet] {
        self.tablets.of(table)
    }

    /// Where the RPC of the tablet's owner listens.
    #[must_use]
    pub fn address_of(&self, tablet: &Tablet) -> Option<&str> {
        self.servers.get(&tablet.server?).map(|s| s.address.as_str())
    }

    /// Where a derived table stands.
    #[must_use]
    pub fn published(&self, table: TableId) -> Option<&Published> {
        self.published.get(&table).map(AsRef::as_ref)
    }

    /// The definition that makes this table.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name).map(AsRef::as_ref)
    }

    /// The table that a definition of an environment means by a name: the environment's own, else that of production.
    #[must_use]
    pub fn resolve(&self, environment: &str, name: &str) -> Option<&Arc<Table>> {
        let own = (!environment.is_empty()).then(|| self.table(&name_in(environment, name))).flatten();
        own.or_else(|| self.table(name))
    }
}

/// What brings a catalog from one version to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogChanges {
    /// The version that they begin at; `None`: all there is, whatever was before.
    pub base: Option<u64>,
    /// The version afterwards.
    pub version: u64,
    /// See [`Catalog::tables`].
    #[serde(default, skip_serializing_if = "Part::is_empty")]
    pub tables: Part<Arc<Table>>,
    /// See [`Catalog::tablets`].
    #[serde(default, skip_serializing_if = "Part::is_empty")]
    pub tablets: Part<Tablet>,
    /// See [`Catalog::servers`].
    #[serde(default, skip_serializing_if = "Part::is_empty")]
    pub servers: Part<Server>,
    /// See [`Catalog::definitions`].
    #[serde(default, skip_serializing_if = "Part::is_empty")]
    pub definitions: Part<Definition>,
    /// See [`Catalog::retired`].
    #[serde(default, skip_serializing_if = "Part::is_empty")]
    pub retired: Part<Definition>,
    /// See [`Catalog::definitions_version`].
    #[serde(default)]
    pub definitions_version: u64,
    /// See [`Catalog::published`].
    #[serde(default, skip_serializing_if = "Part::is_empty")]
    pub published: Part<Published>,
    /// All of [`Catalog::watermarks`], if they change.
    #[serde(default)]
    pub watermarks: Option<Vec<(TableId, Micros)>>,
    /// All of [`Catalog::ingesting`], if it changes.
    #[serde(default)]
    pub ingesting: Option<Vec<TableId>>,
    /// All of [`Catalog::protected`], if it changes.
    #[serde(default)]
    pub protected: Option<Vec<TableId>>,
    /// All of [`Catalog::run_records`], if they change.
    #[serde(default)]
    pub run_records: Option<Vec<RunRecord>>,
}

impl Catalog {
    /// The catalog after changes, in the time of what differs (changed tablets take a walk over all of them); `None` if they begin
    /// at another version than this.
    #[must_use]
    pub fn after(&self, changes: CatalogChanges) -> Option<Self> {
        let mut new = match changes.base {
            None => Self::default(),
            Some(base) if base == self.version => self.clone(),
            Some(_) => return None,
        };
        new.version = changes.version;
        new.definitions_version = changes.definitions_version;
        new.tables.change(changes.tables);
        if !changes.tablets.is_empty() {
            new.tablets = Arc::new(new.tablets.after(changes.tablets));
        }
        change(&mut new.servers, changes.servers);
        change(&mut new.definitions, changes.definitions);
        change(&mut new.retired, changes.retired);
        change(&mut new.published, changes.published);
        new.watermarks = changes.watermarks.map_or(new.watermarks, |all| all.into_iter().collect());
        new.ingesting = changes.ingesting.map_or(new.ingesting, |all| all.into_iter().collect());
        new.protected = changes.protected.map_or(new.protected, |all| all.into_iter().collect());
        new.run_records = changes.run_records.map_or(new.run_records, Arc::new);
        Some(new)
    }
}

impl From<CatalogChanges> for Catalog {
    fn from(changes: CatalogChanges) -> Self {
        Self::default().after(CatalogChanges { base: None, ..changes }).unwrap_or_default()
    }
}

impl From<Catalog> for CatalogChanges {
    fn from(all: Catalog) -> Self {
        Self {
            base: None,
            version: all.version,
            tables: put(all.tables.iter().cloned()),
            tablets: put(all.tablets.iter().cloned()),
            servers: put(all.servers.values().map(|s| Server::clone(s))),
            definitions: put(all.definitions.values().map(|d| Definition::clone(d))),
            retired: put(all.retired.values().map(|d| Definition::clone(d))),
            definitions_version: all.definitions_version,
            published: put(all.published.values().map(|p| Published::clone(p))),
            watermarks: Some(all.watermarks.into_iter().collect()),
            ingesting: Some(all.ingesting.into_iter().collect()),
            protected: Some(all.protected.into_iter().collect()),
            run_records: Some(Arc::unwrap_or_clone(all.run_records)),
        }
    }
}

fn put<T: Keyed>(items: impl Iterator<Item = T>) -> Part<T> {
    Part { put: items.collect(), gone: Vec::new() }
}

fn change<T: Keyed>(items: &mut OrdMap<T::Key, Arc<T>>, part: Part<T>) {
    for key in &part.gone {
        items.remove(key);
    }
    items.extend(part.put.into_iter().map(|item| (item.key(), Arc::new(item))));
}

macro_rules! keyed {
    ($($item:ident by $key:ident: $ty:ty),* $(,)?) => {
        $(
            impl Keyed for $item {
                type Key = $ty;

                fn key(&self) -> $ty {
                    self.$key.clone()
                }
            }
        )*
    };
}

keyed!(Tablet by id: TabletId, Server by id: ServerId, Definition by name: String, Published by table: TableId);

/// A contiguous row range of one table, with one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablet {
    /// Never reused.
    pub id: TabletId,
    /// Its table.
    pub table: TableId,
    /// Its rows.
    pub range: KeyRange,
    /// Of its owner.
    pub epoch: Epoch,
    /// Its owner; `None` while it waits for one.
    pub server: Option<ServerId>,
    /// Whether the owner has reported it open at this epoch.
    pub open: bool,
}

/// A live tablet server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Where its RPC listens, `host:port`.
    pub address: String,
}

/// An applied definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Name of its table, the environment's mark included (see [`crate::environment`]).
    pub name: String,
    /// Its table.
    pub table: TableId,
    /// As the compiler wrote it, under the name that it has in production.
    pub document: String,
    /// Of its resolved plan.
    pub fingerprint: String,
    /// Whether it rests.
    pub paused: bool,
    /// When it was applied; when it was retired.
    pub applied_at: Micros,
}

impl Definition {
    /// Its environment; `""` is production.
    #[must_use]
    pub fn environment(&self) -> &str {
        environment::of(&self.name)
    }
}

/// Where a derived table stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The derived table.
    pub table: TableId,
    /// Its newest version; 0: nothing published.
    pub version: Seq,
    /// When that was published.
    #[serde(default)]
    pub published_at: Micros,
    /// Output times that have been computed at least once.
    pub windows: RangeSet,
    /// Output times computed from complete inputs.
    pub complete: RangeSet,
    /// Output times due by force (backfill, changed definition).
    pub forced: RangeSet,
    /// How far it has followed each input.
    pub inputs: Vec<FollowedInput>,
    /// Live claims: the windows no other run may compute (everything for a claim of the whole table).
    pub claimed: RangeSet,
    /// Published runs that some tablet has not yet reported as applied, oldest first.
    pub runs: Vec<(RunId, Seq)>,
}

/// How far a derived table has followed one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedInput {
    /// The input.
    pub input: TableId,
    /// All changes up to here are in `dirty` or computed.
    pub cursor: VersionMap,
    /// Output times that changes of this input reach and no run has computed since.
    pub dirty: RangeSet,
}

/// One run, as `system.runs` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// `dataset.name` of the derived table.
    pub table: String,
    /// `published`, `unchanged`, `failed` or `abandoned`.
    pub status: String,
    /// Why it ran: `first build`, `new data`, `late data`, `backfill`, `changed definition`.
    pub reason: String,
    /// For a table without windows: whether it computed only changed keys, and why not; else empty.
    #[serde(default)]
    pub path: String,
    /// Output times computed; empty for a table without windows.
    pub windows: RangeSet,
    /// Version it published; 0 if none.
    pub version: Seq,
    /// When it began.
    pub started_at: Micros,
    /// When it ended.
    pub ended_at: Micros,
    /// Rows its SQL gave.
    pub rows_out: u64,
    /// Rows read from inputs.
    pub rows_in: u64,
    /// Rows of the published difference.
    pub rows_changed: u64,
    /// Inputs with the versions read, as `name@version`.
    pub inputs: Vec<String>,
    /// Ancestors that had due windows which this run did not wait for.
    pub mixed_with: Vec<String>,
    /// Of the definition.
    pub fingerprint: String,
    /// Who ran it.
    pub runner: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// Name of the table of runs.
pub const RUNS_TABLE: &str = "system.runs";

/// The tables that every cluster has from its birth; only Stele writes them.
#[must_use]
pub fn system_tables() -> Vec<TableSpec> {
    use ValueType::{Int64, Json, String, Timestamp};
    let part = |name: &str, ty, descending| KeyPartSpec { name: name.into(), ty, descending, nullable: false, hidden: false };
    let column = |(name, ty): (&str, ValueType)| ColumnSpec { name: name.into(), ty, family: DATA_FAMILY.into(), qualifier: None };
    let columns = [
        ("status", String),
        ("reason", String),
        ("path", String),
        ("windows", Json),
        ("version", Int64),
        ("ended_at", Timestamp),
        ("duration_ms", Int64),
        ("rows_in", Int64),
        ("rows_out", Int64),
        ("rows_changed", Int64),
        ("inputs", Json),
        ("mixed_with", Json),
        ("fingerprint", String),
        ("runner", String),
        ("error", String),
    ];
    vec![TableSpec {
        description: Some("one row a run of a derived table".into()),
        key: vec![part("table_name", String, false), part("started_at", Timestamp, true), part("run", Int64, false)],
        columns: columns.map(column).into(),
        undeclared: Some("none".into()),
        ..TableSpec::named(RUNS_TABLE)
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_crosses_the_wire_as_changes_from_nothing() {
        let (server, table) = (ServerId(7), TableId(3));
        let mut catalog = Catalog { version: 9, definitions_version: 2, ..Catalog::default() };
        catalog.servers.insert(server, Arc::new(Server { id: server, address: "127.0.0.1:1".into() }));
        catalog.watermarks.insert(table, Micros(5));
        catalog.protected.insert(table);
        let definition =
            Definition { name: "a.b".into(), table, document: "{}".into(), fingerprint: "f".into(), paused: false, applied_at: Micros(1) };
        catalog.definitions.insert("a.b".into(), Arc::new(definition));
        let tablet = Tablet { id: TabletId(4), table, range: KeyRange::ALL, epoch: Epoch(1), server: Some(server), open: true };
        catalog.tablets = Arc::new(vec![tablet].into());
        let text = serde_json::to_string(&catalog).unwrap();
        assert_eq!(serde_json::from_str::<Catalog>(&text).unwrap(), catalog);
        // Within an enum that carries its tag among its fields, as replies do.
        assert_eq!(serde_json::from_value::<Catalog>(serde_json::to_value(&catalog).unwrap()).unwrap(), catalog);
    }
}
