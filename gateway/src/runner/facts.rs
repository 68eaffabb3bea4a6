//! What the decision depends on, kept from tick to tick so that nothing is read twice.
//!
//! Order within a tick: first the catalog and the clock, then the inputs' snapshots, then their changes. So a
//! watermark seen is covered by the snapshot taken after it, and what is pending is exactly what lies
//! between the published cursor and the pin.

use super::changes::{Followed, columns_of};
use super::leads::Leads;
use super::query;
use crate::cluster::Cluster;
use crate::sql::Sql;
use common::Result;
use common::catalog::{Catalog, Definition, FollowedInput};
use common::ids::TableId;
use common::schema::{Table, TableKind};
use common::time::Micros;
use common::version::{RangeSet, VersionMap};
use derived::definition::OnChange;
use derived::document::{Artifact, Input};
use derived::sql::at_run_time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// While a definition waits for its first build, its raw inputs are looked at this often: each look reads all event times.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// What lies between a published cursor and a pin.
#[derive(Clone, Debug)]
struct Scan {
    from: VersionMap,
    to: VersionMap,
    windows: RangeSet,
}

/// One input that one table follows.
struct Follows<'a> {
    key: (TableId, TableId),
    compiled: &'a Compiled,
    input: &'a Input,
    table: &'a Table,
    cursor: &'a FollowedInput,
}

/// A scan that was brought up to a pin.
struct Scanned {
    scan: Scan,
    /// Windows that no earlier tick had seen.
    new: RangeSet,
    /// More of them are to be found by a query.
    leads: bool,
}

/// A compiled definition with what following its inputs takes.
#[derive(Clone)]
pub struct Compiled {
    /// As in the catalog.
    pub fingerprint: String,
    /// As in the catalog.
    applied_at: Micros,
    /// Its inputs as its SQL names them, each with the table that it finds: that depends on what else its environment has.
    found: Vec<(String, String)>,
    /// The definition.
    pub artifact: Arc<Artifact>,
    /// The columns of each input whose changes count.
    columns: Arc<HashMap<String, Vec<String>>>,
}

impl Compiled {
    /// The columns of an input whose changes count.
    #[must_use]
    pub fn columns(&self, input: &str) -> &[String] {
        self.columns.get(input).map(Vec::as_slice).unwrap_or_default()
    }

    fn is_of(&self, definition: &Definition, catalog: &Catalog) -> bool {
        let environment = definition.environment();
        let same = self.fingerprint == definition.fingerprint && self.applied_at == definition.applied_at;
        // In production names are what they say: nothing need be looked for.
        same && (environment.is_empty() || self.finds_the_same(environment, catalog))
    }

    fn finds_the_same(&self, environment: &str, catalog: &Catalog) -> bool {
        self.found.iter().all(|(input, found)| *found == found_in(catalog, environment, input))
    }
}

/// A table without windows as last looked at.
#[derive(Clone, Debug)]
struct Looked {
    pin: VersionMap,
    /// `Some` once it was looked for at `pin` or before and lowered by all changes since.
    earliest: Option<Option<Micros>>,
    looked: Duration,
}

/// Changes found by a tick that no earlier tick had seen.
pub struct News {
    /// The derived table.
    pub table: TableId,
    /// Its windows that they reach.
    pub windows: RangeSet,
    /// Of its definition.
    pub retries: u32,
}

/// What one tick knows.
pub struct Snapshot {
    /// Wall clock before anything was read.
    pub now: Micros,
    /// Monotonic clock: every change that was visible by then is taken into account.
    pub as_of: Duration,
    /// Tables, published versions, watermarks.
    pub catalog: Arc<Catalog>,
    /// Definitions that decode and whose inputs could be read.
    pub artifacts: BTreeMap<String, Arc<Artifact>>,
    /// See [`derived::due::Facts::earliest`].
    pub earliest: BTreeMap<TableId, Micros>,
    /// See [`derived::due::Facts::pending`].
    pub pending: BTreeMap<(TableId, TableId), RangeSet>,
    /// The version of each (derived table, input) that a run of this tick reads.
    pub pins: BTreeMap<(TableId, TableId), VersionMap>,
    /// What is new.
    pub news: Vec<News>,
    /// Why definitions are left out, by table name.
    pub broken: BTreeMap<String, String>,
}

/// Follows the inputs of all definitions.
pub struct Follower {
    cluster: Arc<Cluster>,
    sql: Arc<Sql>,
    compiled: HashMap<String, Compiled>,
    scans: HashMap<(TableId, TableId), Scan>,
    unwindowed: HashMap<TableId, Looked>,
}

impl Follower {
    /// A follower that knows nothing yet.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, sql: Arc<Sql>) -> Self {
        Self { cluster, sql, compiled: HashMap::new(), scans: HashMap::new(), unwindowed: HashMap::new() }
    }

    /// The definition of this table, as of the last tick.
    #[must_use]
    pub fn compiled(&self, name: &str) -> Option<&Compiled> {
        self.compiled.get(name)
    }

    /// Looks at everything that may have moved. Inputs of tables in `busy` are left as they were.
    pub async fn collect(&mut self, busy: &BTreeSet<TableId>) -> Snapshot {
        let (now, as_of, catalog) = (self.cluster.clock().now(), self.cluster.clock().monotonic(), self.cluster.catalog());
        let mut snapshot = Snapshot {
            now,
            as_of,
            catalog: catalog.clone(),
            artifacts: BTreeMap::new(),
            earliest: BTreeMap::new(),
            pending: BTreeMap::new(),
            pins: BTreeMap::new(),
            news: Vec::new(),
            broken: BTreeMap::new(),
        };
        self.compile(&catalog, &mut snapshot).await;
        self.look_at_unwindowed(&catalog, &mut snapshot).await;
        for definition in &catalog.definitions {
            if let Err(e) = self.follow(&catalog, definition, busy.contains(&definition.table), &mut snapshot).await {
                tracing::warn!(table = %definition.name, error = %e, "inputs could not be followed");
                snapshot.artifacts.remove(&definition.name);
                snapshot.broken.insert(definition.name.clone(), e.message);
            }
        }
        self.forget(&catalog);
        snapshot.earliest = self.unwindowed.iter().filter_map(|(id, raw)| Some((*id, raw.earliest??))).collect();
        snapshot
    }

    /// Decodes new and changed definitions.
    async fn compile(&mut self, catalog: &Catalog, snapshot: &mut Snapshot) {
        for definition in &catalog.definitions {
            let known = self.compiled.get(&definition.name).filter(|c| c.is_of(definition, catalog));
            let compiled = match known {
                Some(compiled) => Ok(compiled.clone()),
                None => self.compile_one(catalog, definition).await,
            };
            match compiled {
                Ok(compiled) => {
                    snapshot.artifacts.insert(definition.name.clone(), compiled.artifact.clone());
                    self.compiled.insert(definition.name.clone(), compiled);
                }
                Err(e) => {
                    self.compiled.remove(&definition.name);
                    snapshot.broken.insert(definition.name.clone(), e.message);
                }
            }
        }
    }

    async fn compile_one(&self, catalog: &Catalog, definition: &Definition) -> Result<Compiled> {
        let written = Artifact::from_document(&definition.document)?;
        let find = |input: &str| found_in(catalog, definition.environment(), input);
        let found = written.inputs.iter().map(|i| (i.name.clone(), find(&i.name))).collect();
        let artifact = written.placed(&definition.name, find)?;
        let context = self.sql.context(HashMap::new())?;
        let some_window = artifact.window.as_ref().map(|w| (w.windows.floor(Micros(0)), w.windows.next(Micros(0))));
        let mut columns: HashMap<String, Vec<String>> = HashMap::new();
        for query in artifact.queries(some_window).into_iter().take(1) {
            let plan = query::plan(&context, &at_run_time(&query.sql, Micros(0))).await?;
            columns = columns_of(&context, &plan, &artifact.inputs)?;
        }
        let (fingerprint, applied_at) = (definition.fingerprint.clone(), definition.applied_at);
        Ok(Compiled { fingerprint, applied_at, found, artifact: Arc::new(artifact), columns: Arc::new(columns) })
    }

    /// Takes a snapshot of each table without windows that a definition reads.
    async fn look_at_unwindowed(&mut self, catalog: &Catalog, snapshot: &mut Snapshot) {
        let read: BTreeSet<_> = snapshot.artifacts.values().flat_map(|a| a.inputs.iter().map(|i| i.name.clone())).collect();
        let windowed = |t: &&Table| snapshot.artifacts.get(&t.name).is_some_and(|a| a.window.is_some());
        let tables: Vec<_> = read.iter().filter_map(|name| catalog.table(name)).filter(|t| !windowed(t)).collect();
        for table in tables {
            let wanted = self.needs_earliest(catalog, snapshot, table);
            if let Err(e) = self.look_at(table, wanted).await {
                tracing::warn!(table = %table.name, error = %e, "an input cannot be looked at");
            }
            snapshot.as_of = snapshot.as_of.min(self.unwindowed.get(&table.id).map_or(Duration::ZERO, |r| r.looked));
        }
    }

    /// Whether some reader of `table` has yet to learn where to begin: it follows no changes so far.
    fn needs_earliest(&self, catalog: &Catalog, snapshot: &Snapshot, table: &Table) -> bool {
        let unknown = self.unwindowed.get(&table.id).is_none_or(|r| r.earliest.is_none());
        let mut readers = snapshot.artifacts.values().filter(|a| a.input(&table.name).is_some());
        table.time_column.is_some() && (unknown || readers.any(|a| cursor(catalog, &a.name, table.id).is_none()))
    }

    async fn look_at(&mut self, table: &Table, wants_earliest: bool) -> Result<()> {
        let looked = self.cluster.clock().monotonic();
        let known = self.unwindowed.get(&table.id).cloned();
        let is_raw = table.kind != TableKind::Derived;
        if is_raw && wants_earliest && known.as_ref().is_some_and(|r| r.earliest.is_some() && looked < r.looked + FIRST_LOOK) {
            return Ok(());
        }
        let pin = self.cluster.snapshot(table).await?;
        let mut earliest = known.as_ref().and_then(|r| r.earliest);
        if wants_earliest && (earliest.is_none() || known.as_ref().is_none_or(|r| r.pin != pin)) {
            let context = self.sql.context(HashMap::from([(table.id, pin.clone())]))?;
            earliest = Some(query::earliest(&context, table).await?);
        }
        self.unwindowed.insert(table.id, Looked { pin, earliest, looked });
        Ok(())
    }

    /// Turns what changed of a definition's inputs since its cursors into windows.
    async fn follow(&mut self, catalog: &Catalog, definition: &Definition, busy: bool, snapshot: &mut Snapshot) -> Result<()> {
        let Some(compiled) = self.compiled.get(&definition.name).cloned() else { return Ok(()) };
        let (mut leads, mut found, mut pins) = (Leads::default(), Vec::new(), HashMap::new());
        for input in &compiled.artifact.inputs {
            let Some(table) = catalog.table(&input.name) else { continue };
            let key = (definition.table, table.id);
            let Some(newest) = self.newest(catalog, table) else { continue };
            let cursor = cursor(catalog, &definition.name, table.id);
            let to = match (cursor, self.scans.get(&key)) {
                (Some(cursor), Some(scan)) if busy && scan.from == cursor.cursor => scan.to.clone(),
                // Its run has just been published: what came since is looked at when it has ended here too.
                (Some(cursor), _) if busy => cursor.cursor.clone(),
                _ => newest,
            };
            snapshot.pins.insert(key, to.clone());
            pins.insert(table.id, to.clone());
            let Some(cursor) = cursor else {
                // Nothing was computed yet, or everything is due by force.
                self.scans.remove(&key);
                continue;
            };
            let follows = Follows { key, compiled: &compiled, input, table, cursor };
            found.push((key, self.scan(&follows, to, &mut leads).await?));
        }
        let reached = match found.iter().any(|(_, s)| s.leads) {
            true => leads.windows(&self.sql, &compiled.artifact, pins).await?,
            false => RangeSet::empty(),
        };
        for (key, Scanned { mut scan, mut new, leads }) in found {
            if leads {
                scan.windows = scan.windows.union(&reached);
                new = reached.clone();
            }
            if !new.is_empty() {
                snapshot.news.push(News { table: key.0, windows: new, retries: compiled.artifact.timing.retries });
            }
            snapshot.pending.insert(key, scan.windows.clone());
            self.scans.insert(key, scan);
        }
        Ok(())
    }

    fn newest(&self, catalog: &Catalog, table: &Table) -> Option<VersionMap> {
        match self.unwindowed.get(&table.id) {
            Some(looked) => Some(looked.pin.clone()),
            None if table.kind == TableKind::Derived => {
                Some(VersionMap::whole(catalog.published(table.id).map(|p| p.version).unwrap_or_default()))
            }
            None => None,
        }
    }

    async fn scan(&mut self, follows: &Follows<'_>, to: VersionMap, leads: &mut Leads) -> Result<Scanned> {
        let Follows { key, compiled, input, table, cursor } = *follows;
        let known = self.scans.get(&key).filter(|scan| scan.from == cursor.cursor).cloned();
        let blank = || Scan { from: cursor.cursor.clone(), to: cursor.cursor.clone(), windows: RangeSet::empty() };
        let mut scanned = Scanned { scan: known.unwrap_or_else(blank), new: RangeSet::empty(), leads: false };
        if scanned.scan.to == to {
            return Ok(scanned);
        }
        if input.on_change == OnChange::Exact {
            let followed = Followed { table: &Arc::new(table.clone()), input, columns: compiled.columns(&input.name) };
            let (changed, leading) = leads.changed(&self.cluster, &compiled.artifact, &followed, (&scanned.scan.to, &to)).await?;
            self.lower_earliest(table.id, changed.earliest);
            scanned.leads = leading;
            if !leading {
                scanned.new = compiled.artifact.dirty(input, &changed.times);
                scanned.scan.windows = scanned.scan.windows.union(&scanned.new);
            }
        }
        scanned.scan.to = to;
        Ok(scanned)
    }

    /// A changed row may be earlier than all before it.
    fn lower_earliest(&mut self, table: TableId, changed: Option<Micros>) {
        let (Some(looked), Some(changed)) = (self.unwindowed.get_mut(&table), changed) else { return };
        looked.earliest = match looked.earliest {
            // Looked for anew by the next tick.
            _ if changed == Micros::MIN => None,
            known => known.map(|known| Some(known.map_or(changed, |known| known.min(changed)))),
        };
    }

    fn forget(&mut self, catalog: &Catalog) {
        self.compiled.retain(|name, _| catalog.definition(name).is_some());
        self.unwindowed.retain(|id, _| catalog.table_by_id(*id).is_some());
        self.scans.retain(|(table, input), _| catalog.table_by_id(*table).is_some() && catalog.table_by_id(*input).is_some());
    }
}

/// The table that a definition of an environment finds for an input.
fn found_in(catalog: &Catalog, environment: &str, input: &str) -> String {
    catalog.resolve(environment, input).map_or_else(|| input.to_owned(), |t| t.name.clone())
}

/// How far a derived table has followed an input; `None` if it has not begun to.
fn cursor<'a>(catalog: &'a Catalog, name: &str, input: TableId) -> Option<&'a FollowedInput> {
    let published = catalog.published(catalog.definition(name)?.table)?;
    published.inputs.iter().find(|f| f.input == input && !f.cursor.is_empty())
}
