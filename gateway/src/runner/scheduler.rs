//! The loop: look, decide, start what is due, at most [`AT_ONCE`] runs at a time and one of each table.

use super::execute::{Executor, Outcome};
use super::facts::{Compiled, Follower, Snapshot};
use super::failures::{FailedRun, Failures};
use super::promotion;
use super::status::{Running, Sources, Status};
use super::work::{PinnedInput, Work};
use common::catalog::{Catalog, RunRecord};
use common::ids::{Seq, TableId};
use common::rpc::master::{Command, InputProgress};
use common::schema::Table;
use common::time::Micros;
use common::version::{RangeSet, VersionMap};
use derived::due::{Decision, Facts, PlannedRun, decide};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// Runs under way in one gateway; each uses all cores by itself.
const AT_ONCE: usize = 2;
/// Windows of one run: enough that a backfill of years is few queries, few enough to begin serving soon.
const MAX_WINDOWS: usize = 10_000;
/// Scattered ranges of windows of one run.
const MAX_RANGES: usize = 1_000;
/// How often raw inputs are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How far a cursor may lag where nothing is due: a restart scans that much again, and tablets keep old images for it.
const MOVE_CURSORS: Duration = Duration::from_secs(30);
/// After a run that was outdated, so that two gateways do not race in lockstep.
const AFTER_OUTDATED: Duration = Duration::from_millis(500);

/// What the loop and the API share.
pub struct Shared {
    /// Makes the loop look again at once.
    pub wake: Notify,
    /// A plain lock, never held across an await.
    failures: Mutex<Failures>,
    /// Of the last tick.
    pub status: watch::Sender<Arc<Status>>,
}

impl Shared {
    /// Nothing known yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { wake: Notify::new(), failures: Mutex::default(), status: watch::Sender::new(Arc::default()) })
    }

    /// Works on what has failed.
    pub fn failures<T>(&self, f: impl FnOnce(&mut Failures) -> T) -> T {
        f(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The state of the loop.
pub struct Scheduler {
    executor: Arc<Executor>,
    shared: Arc<Shared>,
    follower: Follower,
    tasks: JoinSet<(Box<Work>, bool, Outcome)>,
    running: HashMap<String, (TableId, Running)>,
    last: HashMap<String, RunRecord>,
    last_run: BTreeMap<TableId, Micros>,
    /// When each table was last seen with nothing due.
    idle: BTreeMap<TableId, Micros>,
    /// Monotonic: tables that start nothing before.
    resting: HashMap<TableId, Duration>,
    /// Monotonic: when each table's cursors moved last.
    moved: HashMap<TableId, Duration>,
}

impl Scheduler {
    /// A loop that has not begun.
    #[must_use]
    pub fn new(executor: Arc<Executor>, shared: Arc<Shared>) -> Self {
        let follower = Follower::new(executor.cluster.clone(), executor.sql.clone());
        Self {
            executor,
            shared,
            follower,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            last: HashMap::new(),
            last_run: BTreeMap::new(),
            idle: BTreeMap::new(),
            resting: HashMap::new(),
            moved: HashMap::new(),
        }
    }

    /// Runs until it is dropped; runs under way are then abandoned.
    pub async fn run(mut self) {
        loop {
            let version = self.tick().await;
            let cluster = self.executor.cluster.clone();
            tokio::select! {
                Some(done) = self.tasks.join_next() => self.finished(done),
                () = tokio::time::sleep(TICK) => {}
                _ = cluster.catalog_after(version) => {}
                () = self.shared.wake.notified() => {}
            }
            while let Some(done) = self.tasks.try_join_next() {
                self.finished(done);
            }
        }
    }

    /// Looks, decides and starts; the version of the catalog that it looked at.
    async fn tick(&mut self) -> u64 {
        let busy: BTreeSet<_> = self.running.values().map(|(id, _)| *id).collect();
        let snapshot = self.follower.collect(&busy).await;
        let failures = self.shared.failures(|failures| {
            for definition in &snapshot.catalog.definitions {
                if let Some(published) = snapshot.catalog.published(definition.table) {
                    failures.refresh(published, &definition.fingerprint);
                }
            }
            snapshot.news.iter().for_each(|n| failures.inputs_changed(n.table, &n.windows, n.retries));
            failures.list()
        });
        let decisions = decide(&Facts {
            now: snapshot.now,
            catalog: &snapshot.catalog,
            artifacts: &snapshot.artifacts,
            earliest: &snapshot.earliest,
            pending: &snapshot.pending,
            failures: &failures,
            last_run: &self.last_run,
            idle: &self.idle,
            max_windows: MAX_WINDOWS,
        });
        let promotion = promotion::ready(&snapshot.catalog, &decisions);
        let promoting = promotion.is_some();
        if let Some(command) = promotion
            && let Err(e) = self.executor.cluster.submit(command).await
        {
            tracing::warn!(error = %e, "changed definitions could not take their place; tried again");
        }
        for decision in decisions.iter().filter(|d| d.due.is_empty() && !self.running.contains_key(&d.table)) {
            if let Some(definition) = snapshot.catalog.definition(&decision.table) {
                self.idle.insert(definition.table, snapshot.now);
            }
        }
        self.start(&snapshot, &decisions);
        self.move_cursors(&snapshot, &decisions).await;
        let running = self.running.iter().map(|(name, (_, r))| (name.clone(), r.clone())).collect();
        let sources = Sources {
            as_of: snapshot.as_of,
            catalog: &snapshot.catalog,
            decisions: &decisions,
            failures: &failures,
            artifacts: &snapshot.artifacts,
            running: &running,
            last: &self.last,
            broken: &snapshot.broken,
            promoting,
        };
        self.shared.status.send_replace(Arc::new(sources.status()));
        snapshot.catalog.version
    }

    /// Starts runs of tables that have waited longest, ancestors first among equals.
    fn start(&mut self, snapshot: &Snapshot, decisions: &[Decision]) {
        let now = self.executor.cluster.clock().monotonic();
        let mut candidates: Vec<_> = decisions.iter().filter_map(|d| Some((d, d.runs.first()?))).collect();
        candidates.sort_by_key(|(d, _)| self.last.get(&d.table).map(|r| r.ended_at));
        for (decision, planned) in candidates {
            if self.tasks.len() >= AT_ONCE {
                return;
            }
            if self.running.contains_key(&decision.table) {
                continue;
            }
            let Some(work) = self.work(snapshot, decision, planned) else { continue };
            if self.resting.get(&work.table.id).is_some_and(|until| now < *until) {
                continue;
            }
            self.spawn(snapshot, work);
        }
    }

    fn spawn(&mut self, snapshot: &Snapshot, work: Work) {
        let running = Running { windows: work.windows(), reason: work.plan.reason, since: snapshot.now };
        let published = snapshot.catalog.published(work.table.id);
        let forced = published.is_some_and(|p| !p.forced.intersect(&running.windows).is_empty());
        self.running.insert(work.table.name.clone(), (work.table.id, running));
        let executor = self.executor.clone();
        self.tasks.spawn(async move {
            let outcome = executor.run(&work).await;
            (Box::new(work), forced, outcome)
        });
    }

    /// A planned run with everything fixed; `None` if an input was not looked at yet.
    fn work(&self, snapshot: &Snapshot, decision: &Decision, planned: &PlannedRun) -> Option<Work> {
        let compiled = self.follower.compiled(&decision.table)?;
        let Compiled { artifact, fingerprint, .. } = compiled;
        let table = Arc::new(snapshot.catalog.table(&decision.table)?.clone());
        let ranges = planned.range.map(|_| self.shared.failures(|f| f.narrow(table.id, &alike(decision, planned))));
        let input = |table: &Table, id: TableId| {
            let key = (id, table.id);
            Some(PinnedInput {
                version: snapshot.pins.get(&key)?.clone(),
                pending: snapshot.pending.get(&key).cloned().unwrap_or_default(),
                since: computed_from(&snapshot.catalog, id, table.id),
                columns: compiled.columns(&table.name).to_vec(),
                table: Arc::new(table.clone()),
            })
        };
        let inputs = artifact.inputs.iter().map(|i| input(snapshot.catalog.table(&i.name)?, table.id)).collect::<Option<_>>()?;
        Some(Work {
            artifact: artifact.clone(),
            fingerprint: fingerprint.clone(),
            seen: version(&snapshot.catalog, table.id),
            table,
            ranges,
            plan: planned.clone(),
            inputs,
        })
    }

    fn finished(&mut self, done: Result<(Box<Work>, bool, Outcome), tokio::task::JoinError>) {
        let (work, forced, outcome) = match done {
            Ok(done) => done,
            Err(e) => {
                tracing::error!(error = %e, "a run ended in a panic");
                // Which one is not said: those that still run are found busy by their claims.
                self.running.clear();
                return;
            }
        };
        let (id, computed, clock) = (work.table.id, work.windows(), self.executor.cluster.clock());
        self.running.remove(&work.table.name);
        self.moved.insert(id, clock.monotonic());
        match outcome {
            Outcome::Published(record) => {
                self.last_run.insert(id, record.ended_at);
                self.shared.failures(|f| f.succeeded(id, &computed));
                self.last.insert(work.table.name.clone(), *record);
            }
            Outcome::Outdated(error) => {
                tracing::info!(table = %work.table.name, %error, "a run was outdated and is decided anew");
                self.resting.insert(id, clock.monotonic() + AFTER_OUTDATED);
            }
            Outcome::Failed(error) => {
                let windows = work.artifact.window.as_ref().map(|w| &w.windows);
                let failed = FailedRun { table: id, computed, windows, fingerprint: &work.fingerprint, forced };
                self.shared.failures(|f| f.failed(&failed, &error, clock.now()));
                self.last_run.insert(id, clock.now());
            }
        }
    }

    /// Tells the master how far inputs were followed where no run does.
    async fn move_cursors(&mut self, snapshot: &Snapshot, decisions: &[Decision]) {
        let now = self.executor.cluster.clock().monotonic();
        for decision in decisions.iter().filter(|d| d.runs.is_empty() && !self.running.contains_key(&d.table)) {
            let Some(definition) = snapshot.catalog.definition(&decision.table) else { continue };
            let mut inputs = lagging(snapshot, definition.table);
            if snapshot.artifacts.get(&decision.table).is_some_and(|a| a.follows_rows()) {
                // Which rows are new or touched is known only as long as their changes are ahead of the cursor.
                inputs.retain(|i| i.newly_dirty.is_empty());
            }
            let moved = *self.moved.entry(definition.table).or_insert(now);
            if inputs.is_empty() || now < moved + MOVE_CURSORS {
                continue;
            }
            self.moved.insert(definition.table, now);
            let command = Command::MoveCursors { table: definition.table, fingerprint: definition.fingerprint.clone(), inputs };
            if let Err(e) = self.executor.cluster.submit(command).await {
                tracing::debug!(table = %definition.name, error = %e, "cursors were not moved");
            }
        }
    }
}

/// The windows of all planned runs that are like this one: scattered windows are one run, for one claim, one look at the
/// table and one publish.
fn alike(decision: &Decision, planned: &PlannedRun) -> RangeSet {
    let is_alike = |other: &&PlannedRun| {
        let (a, b) = (planned, *other);
        (a.whole, a.complete, a.reason, &a.mixed_with) == (b.whole, b.complete, b.reason, &b.mixed_with)
    };
    decision.runs.iter().filter(is_alike).filter_map(|r| r.range).take(MAX_RANGES).collect()
}

/// The version of an input that all of a table was computed from; `None`: parts of the table are due whatever changed since.
fn computed_from(catalog: &Catalog, table: TableId, input: TableId) -> Option<VersionMap> {
    let published = catalog.published(table).filter(|p| p.version != Seq::ZERO && p.forced.is_empty())?;
    let clean = published.inputs.iter().all(|i| i.dirty.is_empty());
    let followed = published.inputs.iter().find(|i| i.input == input && !i.cursor.is_empty())?;
    clean.then(|| followed.cursor.clone())
}

fn version(catalog: &Catalog, table: TableId) -> Seq {
    catalog.published(table).map(|p| p.version).unwrap_or_default()
}

/// The inputs of a table that were followed further than the catalog says.
fn lagging(snapshot: &Snapshot, table: TableId) -> Vec<InputProgress> {
    let followed = snapshot.catalog.published(table).map(|p| p.inputs.as_slice()).unwrap_or_default();
    let one = |f: &common::catalog::FollowedInput| {
        let pin = snapshot.pins.get(&(table, f.input)).filter(|pin| !f.cursor.is_empty() && **pin != f.cursor)?;
        let newly_dirty: RangeSet = snapshot.pending.get(&(table, f.input)).cloned().unwrap_or_default();
        Some(InputProgress { input: f.input, cursor: pin.clone(), newly_dirty })
    };
    followed.iter().filter_map(one).collect()
}
