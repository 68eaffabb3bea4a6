//! What people and programs see of the runner.

use super::outbox::windows_json;
use common::catalog::{Catalog, Definition, Published, RunRecord};
use common::ids::TableId;
use common::time::Micros;
use common::version::RangeSet;
use derived::Artifact;
use derived::due::{Decider, Decision, Failure};
use imbl::{OrdMap, OrdSet};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// All derived tables, as one tick of the runner saw them.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Status {
    /// Nothing is due or running anywhere, and all changes of inputs are followed up.
    pub fresh: bool,
    /// Nothing runs and nothing will by itself: what is due is paused or has failed for good.
    pub settled: bool,
    /// Monotonic clock: every change that was visible by then is taken into account.
    #[serde(skip)]
    pub as_of: Duration,
    /// By name.
    pub tables: Vec<TableStatus>,
}

/// Where one derived table stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TableStatus {
    /// `dataset.name`.
    pub table: String,
    /// `fresh`, `due`, `waiting`, `running`, `failed`, `paused` or `broken`.
    pub state: &'static str,
    /// Its newest version; 0: nothing published.
    pub version: u64,
    /// Everything before it is complete, from the start on.
    pub watermark: Option<String>,
    /// Nothing before it is computed.
    pub start: Option<String>,
    /// Windows that are due, as pairs of times; an open end is null.
    #[schema(value_type = Vec<Vec<Option<String>>>)]
    pub due: serde_json::Value,
    /// What due windows wait for.
    pub waits: Vec<WaitStatus>,
    /// The run under way.
    pub running: Option<RunningStatus>,
    /// Windows whose last run failed.
    pub failures: Vec<FailureStatus>,
    /// The last run of this gateway.
    pub last_run: Option<RunStatus>,
    /// Why the definition cannot be run at all.
    pub broken: Option<String>,
}

/// Due windows that do not run yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WaitStatus {
    /// The windows.
    #[schema(value_type = Vec<Vec<Option<String>>>)]
    pub windows: serde_json::Value,
    /// For people.
    pub why: String,
}

/// A run under way.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunningStatus {
    /// Its windows.
    #[schema(value_type = Vec<Vec<Option<String>>>)]
    pub windows: serde_json::Value,
    /// Why it runs.
    pub reason: String,
    /// Since when.
    pub since: String,
}

/// Windows whose last run failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailureStatus {
    /// The windows.
    #[schema(value_type = Vec<Vec<Option<String>>>)]
    pub windows: serde_json::Value,
    /// Attempts in a row.
    pub attempts: u32,
    /// When the last one ended.
    pub at: String,
    /// What went wrong.
    pub error: String,
}

/// A run that has ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunStatus {
    /// Its number.
    pub run: u64,
    /// `published`, `unchanged`, `failed` or `abandoned`.
    pub status: String,
    /// Why it ran.
    pub reason: String,
    /// For a table without windows: whether it computed only changed keys, and why not; else empty.
    pub path: String,
    /// Its windows.
    #[schema(value_type = Vec<Vec<Option<String>>>)]
    pub windows: serde_json::Value,
    /// When it ended.
    pub ended_at: String,
    /// How long it took, ms.
    pub duration_ms: i64,
    /// Rows its SQL gave.
    pub rows_out: u64,
    /// Rows of the published difference.
    pub rows_changed: u64,
}

/// A run under way, as the scheduler knows it.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its windows.
    pub windows: RangeSet,
    /// Why it runs.
    pub reason: &'static str,
    /// Since when.
    pub since: Micros,
}

impl Status {
    /// This status for somebody who asks about changes that it may not have seen: nothing counts as fresh.
    #[must_use]
    pub fn outdated(&self, catalog: &Catalog) -> Self {
        let mut tables = self.tables.clone();
        for table in tables.iter_mut().filter(|t| t.state == "fresh") {
            table.state = "waiting";
            table.waits.push(looking());
        }
        let known: BTreeSet<&str> = self.tables.iter().map(|t| t.table.as_str()).collect();
        let new = catalog.definitions.values().filter(|d| !known.contains(d.name.as_str()));
        tables.extend(new.map(|d| TableStatus::unseen(&d.name)));
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        Self { fresh: false, settled: false, as_of: self.as_of, tables }
    }
}

impl TableStatus {
    fn unseen(name: &str) -> Self {
        Self {
            table: name.to_owned(),
            state: "waiting",
            version: 0,
            watermark: None,
            start: None,
            due: serde_json::Value::Array(Vec::new()),
            waits: vec![looking()],
            running: None,
            failures: Vec::new(),
            last_run: None,
            broken: None,
        }
    }
}

fn looking() -> WaitStatus {
    WaitStatus { windows: serde_json::Value::Array(Vec::new()), why: "changes of its inputs are being looked at".into() }
}

/// What the newest tick saw: cheap to bring up to date table by table, and to hand on.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// See [`Status::as_of`].
    pub as_of: Duration,
    /// Definitions are about to take the place of others, whose readers are then due.
    pub promoting: bool,
    tables: OrdMap<String, Arc<TableStatus>>,
    /// Of the catalog whose tables these are.
    definitions: OrdMap<String, Arc<Definition>>,
    /// Those that are not fresh.
    stale: OrdSet<String>,
    /// Those of which something will become by itself.
    moving: OrdSet<String>,
}

impl Seen {
    /// Nothing is due or running anywhere.
    #[must_use]
    pub fn fresh(&self) -> bool {
        !self.promoting && self.stale.is_empty()
    }

    /// Nothing runs and nothing will by itself.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.fresh() || (!self.promoting && self.moving.is_empty())
    }

    /// For people and programs.
    #[must_use]
    pub fn status(&self) -> Status {
        let tables = self.tables.values().map(|t| TableStatus::clone(t)).collect();
        Status { fresh: self.fresh(), settled: self.settled(), as_of: self.as_of, tables }
    }

    /// Takes in how one table stands now.
    pub fn update(&mut self, name: &str, sources: &Sources<'_>) {
        let table = sources.table(name);
        mark(&mut self.stale, name, table.state != "fresh");
        mark(&mut self.moving, name, !sources.is_settled(name));
        self.tables.insert(name.to_owned(), Arc::new(table));
    }

    /// Forgets tables that have no definition any more.
    pub fn retain(&mut self, catalog: &Catalog) {
        if self.definitions.ptr_eq(&catalog.definitions) {
            return;
        }
        self.definitions = catalog.definitions.clone();
        let gone: Vec<String> = self.tables.keys().filter(|name| !catalog.definitions.contains_key(*name)).cloned().collect();
        for name in gone {
            self.tables.remove(&name);
            self.stale.remove(&name);
            self.moving.remove(&name);
        }
    }
}

fn mark(names: &mut OrdSet<String>, name: &str, is: bool) {
    if is && !names.contains(name) {
        names.insert(name.to_owned());
    } else if !is {
        names.remove(name);
    }
}

/// What the status of a table is made of.
pub struct Sources<'a> {
    /// Definitions and published versions.
    pub catalog: &'a Catalog,
    /// Of all tables.
    pub decisions: &'a Decider,
    /// All that are known.
    pub failures: &'a [Failure],
    /// Definitions by name.
    pub artifacts: &'a BTreeMap<String, Arc<Artifact>>,
    /// Runs under way, by table name.
    pub running: &'a HashMap<String, (TableId, Running)>,
    /// The last run of each table, by its name.
    pub last: &'a HashMap<String, RunRecord>,
    /// Why a definition cannot be run.
    pub broken: &'a dyn Fn(&str) -> Option<String>,
}

impl Sources<'_> {
    /// Whether nothing becomes of a table by itself: no run is under way, planned, claimed elsewhere or only a matter of time.
    fn is_settled(&self, name: &str) -> bool {
        if self.running.contains_key(name) {
            return false;
        }
        let (Some(artifact), Some(decision)) = (self.artifacts.get(name), self.decisions.of(name)) else { return true };
        let claimed = self.published(name).is_some_and(|p| !p.claimed.is_empty());
        if decision.due.is_empty() || self.is_paused(name) {
            return !claimed;
        }
        let tried_again = self.failures_of(name).any(|f| f.attempts <= artifact.timing.retries);
        let rests = artifact.timing.min_interval.is_some() || artifact.timing.repair_interval.is_some();
        decision.runs.is_empty() && !claimed && !tried_again && !rests
    }

    fn published(&self, table: &str) -> Option<&Published> {
        self.catalog.published(self.catalog.definition(table)?.table)
    }

    fn failures_of(&self, table: &str) -> impl Iterator<Item = &Failure> {
        let id = self.catalog.definition(table).map(|d| d.table);
        self.failures.iter().filter(move |f| Some(f.table) == id)
    }

    fn is_paused(&self, table: &str) -> bool {
        self.catalog.definition(table).is_some_and(|d| d.paused)
    }

    fn table(&self, name: &str) -> TableStatus {
        let decision = self.decisions.of(name);
        let broken = (self.broken)(name);
        TableStatus {
            table: name.to_owned(),
            state: self.state(name, decision, broken.is_some()),
            version: self.published(name).map_or(0, |p| p.version.0),
            watermark: decision.and_then(|d| d.watermark).map(Micros::to_rfc3339),
            start: decision.and_then(|d| d.start).map(Micros::to_rfc3339),
            due: decision.map_or_else(|| windows_json(&RangeSet::empty()), |d| windows_json(&d.due)),
            waits: decision
                .into_iter()
                .flat_map(|d| &d.waits)
                .map(|w| WaitStatus { windows: windows_json(&w.windows), why: w.why.clone() })
                .collect(),
            running: self.running.get(name).map(|(_, r)| running(r)),
            failures: self.failures_of(name).map(failure).collect(),
            last_run: self.last.get(name).map(run),
            broken,
        }
    }

    fn state(&self, name: &str, decision: Option<&Decision>, broken: bool) -> &'static str {
        match decision {
            _ if broken => "broken",
            _ if self.running.contains_key(name) => "running",
            // The tick that knows the definition has yet to come.
            None => "waiting",
            _ if self.is_paused(name) => "paused",
            Some(_) if self.failures_of(name).any(|f| f.attempts > 0) => "failed",
            Some(d) if d.due.is_empty() => "fresh",
            Some(d) if d.runs.is_empty() => "waiting",
            Some(_) => "due",
        }
    }
}

fn running(running: &Running) -> RunningStatus {
    RunningStatus { windows: windows_json(&running.windows), reason: running.reason.into(), since: running.since.to_rfc3339() }
}

fn failure(failure: &Failure) -> FailureStatus {
    let (windows, at) = (windows_json(&failure.windows), failure.at.to_rfc3339());
    FailureStatus { windows, attempts: failure.attempts, at, error: failure.error.clone() }
}

fn run(record: &RunRecord) -> RunStatus {
    RunStatus {
        run: record.run.0,
        status: record.status.clone(),
        reason: record.reason.clone(),
        path: record.path.clone(),
        windows: windows_json(&record.windows),
        ended_at: record.ended_at.to_rfc3339(),
        duration_ms: (record.ended_at.0 - record.started_at.0) / 1000,
        rows_out: record.rows_out,
        rows_changed: record.rows_changed,
    }
}
