//! What decisions depend on, kept from tick to tick: nothing is read twice, and what did not move is not looked at.
//!
//! Order within a tick: first the catalog and the clock, then the inputs' snapshots, then their changes. So a
//! watermark seen is covered by the snapshot taken after it, and what is pending is exactly what lies
//! between the published cursor and the pin.

use super::changes::{Followed, SharedScans};
use super::compiled::{Compiled, Definitions};
use super::leads::Leads;
use super::looks::Looks;
use crate::cluster::Cluster;
use crate::sql::Sql;
use common::Result;
use common::catalog::{Catalog, FollowedInput};
use common::ids::TableId;
use common::schema::{Table, TableKind};
use common::time::Micros;
use common::version::{RangeSet, VersionMap};
use derived::definition::OnChange;
use derived::document::{Artifact, Input};
use imbl::ordmap::DiffItem;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

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
    table: &'a Arc<Table>,
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

/// Changes found by a tick that no earlier tick had seen.
pub struct News {
    /// The derived table.
    pub table: TableId,
    /// Its windows that they reach.
    pub windows: RangeSet,
    /// Of its definition.
    pub retries: u32,
}

/// What one tick found.
pub struct Tick {
    /// Wall clock before anything was read.
    pub now: Micros,
    /// Tables, published versions, watermarks.
    pub catalog: Arc<Catalog>,
    /// The tables some fact of which is other than in the tick before; `None`: any may be.
    pub touched: Option<BTreeSet<String>>,
    /// What is new.
    pub news: Vec<News>,
}

/// Follows the inputs of all definitions.
pub struct Follower {
    cluster: Arc<Cluster>,
    sql: Arc<Sql>,
    /// As of the last tick.
    catalog: Arc<Catalog>,
    definitions: Definitions,
    looks: Looks,
    /// Monotonic: every change that was visible by then is taken into account.
    as_of: Duration,
    scans: HashMap<(TableId, TableId), Scan>,
    /// To be followed again: their inputs could not be read, or a run was under way.
    again: BTreeSet<String>,
    /// Why inputs of definitions could not be followed.
    lost: BTreeMap<String, String>,
    artifacts: BTreeMap<String, Arc<Artifact>>,
    earliest: BTreeMap<TableId, Micros>,
    pending: BTreeMap<(TableId, TableId), RangeSet>,
    pins: BTreeMap<(TableId, TableId), VersionMap>,
}

impl Follower {
    /// A follower that knows nothing yet.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, sql: Arc<Sql>) -> Self {
        Self {
            cluster,
            sql,
            catalog: Arc::default(),
            definitions: Definitions::default(),
            looks: Looks::default(),
            as_of: Duration::ZERO,
            scans: HashMap::new(),
            again: BTreeSet::new(),
            lost: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            earliest: BTreeMap::new(),
            pending: BTreeMap::new(),
            pins: BTreeMap::new(),
        }
    }

    /// The definition of this table.
    #[must_use]
    pub fn compiled(&self, name: &str) -> Option<&Arc<Compiled>> {
        self.definitions.compiled.get(name)
    }

    /// Whether changes are being built that are to take the place of others.
    #[must_use]
    pub fn promoting(&self) -> bool {
        self.definitions.promoting
    }

    /// Definitions that decode and whose inputs could be read.
    #[must_use]
    pub fn artifacts(&self) -> &BTreeMap<String, Arc<Artifact>> {
        &self.artifacts
    }

    /// Why a definition cannot be run.
    #[must_use]
    pub fn broken(&self, name: &str) -> Option<&String> {
        self.definitions.broken.get(name).or_else(|| self.lost.get(name))
    }

    /// See [`derived::due::Facts::earliest`].
    #[must_use]
    pub fn earliest(&self) -> &BTreeMap<TableId, Micros> {
        &self.earliest
    }

    /// See [`derived::due::Facts::pending`].
    #[must_use]
    pub fn pending(&self) -> &BTreeMap<(TableId, TableId), RangeSet> {
        &self.pending
    }

    /// The version of an input that a run of a derived table reads now.
    #[must_use]
    pub fn pin(&self, table: TableId, input: TableId) -> Option<&VersionMap> {
        self.pins.get(&(table, input))
    }

    /// Monotonic: every change that was visible by then is taken into account.
    #[must_use]
    pub fn as_of(&self) -> Duration {
        self.as_of
    }

    /// Looks at what may have moved: at the catalog, and with `inputs` at tables that others write. Inputs of tables in `busy` are
    /// left as they were.
    pub async fn collect(&mut self, busy: &BTreeSet<TableId>, inputs: bool) -> Tick {
        let (now, as_of, catalog) = (self.cluster.clock().now(), self.cluster.clock().monotonic(), self.cluster.catalog());
        let before = std::mem::replace(&mut self.catalog, catalog.clone());
        let renewed = !before.definitions.ptr_eq(&catalog.definitions) || !before.tables.is_same(&catalog.tables);
        if renewed {
            self.definitions.renew(&self.sql, &catalog).await;
            self.forget();
        }
        let mut follow = if renewed { self.definitions.compiled.keys().cloned().collect() } else { self.moved(&before) };
        if inputs || renewed {
            follow.extend(self.look(as_of).await);
        }
        follow.extend(self.again.iter().filter(|name| !self.is_busy(name, busy)).cloned());
        let lost = self.lost.len();
        let news = self.follow_all(&follow, busy).await;
        let readable = !renewed && lost == 0 && self.lost.is_empty();
        if !readable {
            let compiled = self.definitions.compiled.iter().filter(|(name, _)| !self.lost.contains_key(*name));
            self.artifacts = compiled.map(|(name, c)| (name.clone(), c.artifact.clone())).collect();
        }
        let earliest = std::mem::replace(&mut self.earliest, self.looks.earliest());
        let marks = before.watermarks == catalog.watermarks && before.ingesting == catalog.ingesting;
        let same = readable && marks && earliest == self.earliest;
        Tick { now, catalog, touched: same.then_some(follow), news }
    }

    fn is_busy(&self, name: &str, busy: &BTreeSet<TableId>) -> bool {
        self.catalog.definition(name).is_some_and(|d| busy.contains(&d.table))
    }

    /// The definitions that may be due for other windows since `before`: their own books are others, or an input has a new version.
    fn moved(&self, before: &Catalog) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for item in before.published.diff(&self.catalog.published) {
            let (id, has_moved) = match item {
                DiffItem::Add(id, _) | DiffItem::Remove(id, _) => (*id, true),
                DiffItem::Update { old, new } => (*new.0, old.1.version != new.1.version),
            };
            names.extend(self.catalog.table_by_id(id).map(|t| t.name.clone()));
            if has_moved {
                names.extend(self.definitions.readers_of(id).iter().cloned());
            }
        }
        names
    }

    /// Looks at each table without windows that a definition reads; the readers of those that are other than before.
    async fn look(&mut self, begun: Duration) -> BTreeSet<String> {
        let (mut names, mut as_of) = (BTreeSet::new(), begun);
        for (table, readers) in &self.definitions.unwindowed {
            let unknown = !self.looks.knows_earliest(table.id);
            // A reader that follows no changes so far has yet to learn where to begin.
            let mut readers_begin = readers.iter().filter(|name| cursor(&self.catalog, name, table.id).is_none());
            let first = table.time_column.is_some() && (unknown || readers_begin.next().is_some());
            match self.looks.look(&self.cluster, &self.sql, &self.catalog, table, first).await {
                Ok(true) => names.extend(readers.iter().cloned()),
                Ok(false) => {}
                Err(e) => tracing::warn!(table = %table.name, error = %e, "an input cannot be looked at"),
            }
            as_of = as_of.min(self.looks.at(table.id));
        }
        self.as_of = as_of;
        names
    }

    async fn follow_all(&mut self, names: &BTreeSet<String>, busy: &BTreeSet<TableId>) -> Vec<News> {
        let (mut news, mut scans) = (Vec::new(), SharedScans::default());
        for name in names {
            self.again.remove(name);
            let Some(compiled) = self.definitions.compiled.get(name).cloned() else { continue };
            let is_busy = self.is_busy(name, busy);
            match self.follow(&compiled, is_busy, &mut scans).await {
                Ok(found) => {
                    self.lost.remove(name);
                    news.extend(found);
                    if is_busy {
                        self.again.insert(name.clone());
                    }
                }
                Err(e) => {
                    tracing::warn!(table = %name, error = %e, "inputs could not be followed");
                    self.lost.insert(name.clone(), e.message);
                    self.again.insert(name.clone());
                }
            }
        }
        news
    }

    /// Turns what changed of a definition's inputs since its cursors into windows.
    async fn follow(&mut self, compiled: &Compiled, busy: bool, scans: &mut SharedScans) -> Result<Vec<News>> {
        let (catalog, name) = (self.catalog.clone(), &compiled.artifact.name);
        let Some(own) = catalog.table(name).map(|t| t.id) else { return Ok(Vec::new()) };
        let (mut leads, mut found, mut pins) = (Leads::default(), Vec::new(), HashMap::new());
        for input in &compiled.artifact.inputs {
            let Some(table) = catalog.table(&input.name) else { continue };
            let key = (own, table.id);
            let Some(newest) = self.newest(table) else { continue };
            let cursor = cursor(&catalog, name, table.id);
            let to = match (cursor, self.scans.get(&key)) {
                (Some(cursor), Some(scan)) if busy && scan.from == cursor.cursor => scan.to.clone(),
                // Its run has just been published: what came since is looked at when it has ended here too.
                (Some(cursor), _) if busy => cursor.cursor.clone(),
                _ => newest,
            };
            self.pins.insert(key, to.clone());
            pins.insert(table.id, to.clone());
            let Some(cursor) = cursor else {
                // Nothing was computed yet, or everything is due by force.
                self.scans.remove(&key);
                self.pending.remove(&key);
                continue;
            };
            let follows = Follows { key, compiled, input, table, cursor };
            found.push((key, self.scan(&follows, to, &mut leads, scans).await?));
        }
        let reached = match found.iter().any(|(_, s)| s.leads) {
            true => leads.windows(&self.sql, &compiled.artifact, pins).await?,
            false => RangeSet::empty(),
        };
        let mut news = Vec::new();
        for (key, Scanned { mut scan, mut new, leads }) in found {
            if leads {
                scan.windows = scan.windows.union(&reached);
                new = reached.clone();
            }
            if !new.is_empty() {
                news.push(News { table: key.0, windows: new, retries: compiled.artifact.timing.retries });
            }
            self.pending.insert(key, scan.windows.clone());
            self.scans.insert(key, scan);
        }
        Ok(news)
    }

    fn newest(&self, table: &Table) -> Option<VersionMap> {
        match self.looks.pin(table.id) {
            Some(pin) if table.kind != TableKind::Derived => Some(pin.clone()),
            None if table.kind != TableKind::Derived => None,
            _ => Some(VersionMap::whole(self.catalog.published(table.id).map(|p| p.version).unwrap_or_default())),
        }
    }

    async fn scan(&mut self, follows: &Follows<'_>, to: VersionMap, leads: &mut Leads, scans: &mut SharedScans) -> Result<Scanned> {
        let Follows { key, compiled, input, table, cursor } = *follows;
        let known = self.scans.get(&key).filter(|scan| scan.from == cursor.cursor).cloned();
        let blank = || Scan { from: cursor.cursor.clone(), to: cursor.cursor.clone(), windows: RangeSet::empty() };
        let mut scanned = Scanned { scan: known.unwrap_or_else(blank), new: RangeSet::empty(), leads: false };
        if scanned.scan.to == to {
            return Ok(scanned);
        }
        if input.on_change == OnChange::Exact {
            let followed = Followed { table, input, columns: compiled.columns(&input.name) };
            let (changed, leading) = match Leads::are_wanted(&compiled.artifact, input) {
                true => leads.changed(&self.cluster, &compiled.artifact, &followed, (&scanned.scan.to, &to)).await?,
                false => (scans.changed(&self.cluster, &followed, &scanned.scan.to, &to).await?, false),
            };
            self.looks.lower_earliest(table.id, changed.earliest);
            scanned.leads = leading;
            if !leading {
                scanned.new = compiled.artifact.dirty(input, &changed.times);
                scanned.scan.windows = scanned.scan.windows.union(&scanned.new);
            }
        }
        scanned.scan.to = to;
        Ok(scanned)
    }

    /// Forgets what belongs to tables that are no more, and to inputs that nobody follows any more.
    fn forget(&mut self) {
        self.looks.forget(&self.catalog);
        let compiled = &self.definitions.compiled;
        self.lost.retain(|name, _| compiled.contains_key(name));
        self.again.retain(|name| compiled.contains_key(name));
        let inputs = compiled.values().flat_map(|c| c.artifact.inputs.iter().map(|i| (&c.artifact.name, &i.name)));
        let id = |name: &String| self.catalog.table(name).map(|t| t.id);
        let followed: HashSet<(TableId, TableId)> = inputs.filter_map(|(table, input)| Some((id(table)?, id(input)?))).collect();
        self.scans.retain(|key, _| followed.contains(key));
        self.pending.retain(|key, _| followed.contains(key));
        self.pins.retain(|key, _| followed.contains(key));
    }
}

/// How far a derived table has followed an input; `None` if it has not begun to.
fn cursor<'a>(catalog: &'a Catalog, name: &str, input: TableId) -> Option<&'a FollowedInput> {
    let published = catalog.published(catalog.definition(name)?.table)?;
    published.inputs.iter().find(|f| f.input == input && !f.cursor.is_empty())
}
