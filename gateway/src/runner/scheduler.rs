//! The loop: look, decide, start what is due, at most [`AT_ONCE`] runs at a time and one of each table.

use super::compiled::Compiled;
use super::execute::{Executor, Outcome};
use super::facts::{Follower, Tick};
use super::failures::{FailedRun, Failures};
use super::promotion;
use super::status::{Running, Seen, Sources};
use super::work::{PinnedInput, Work};
use common::catalog::{Catalog, Definition, RunRecord};
use common::ids::{Seq, TableId};
use common::rpc::master::{Command, InputProgress};
use common::schema::Table;
use common::time::Micros;
use common::version::{RangeSet, VersionMap};
use derived::due::{Decider, Decision, Facts, Failure, PlannedRun};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Runs under way in one gateway; each uses all cores by itself.
const AT_ONCE: usize = 2;
/// Windows of one run: enough that a backfill of years is few queries, few enough to begin serving soon.
const MAX_WINDOWS: usize = 10_000;
/// Scattered ranges of windows of one run.
const MAX_RANGES: usize = 1_000;
/// How often raw inputs are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often everything is decided anew, for what becomes of time alone.
const DECIDE_ALL: Duration = Duration::from_secs(1);
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
    /// By the newest tick.
    pub seen: watch::Sender<Seen>,
    /// The next tick decides on everything.
    all: AtomicBool,
}

impl Shared {
    /// Nothing known yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { wake: Notify::new(), failures: Mutex::default(), seen: watch::Sender::default(), all: AtomicBool::new(true) })
    }

    /// Makes the next tick decide on everything.
    pub fn decide_all(&self) {
        self.all.store(true, Ordering::Relaxed);
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
    decider: Decider,
    /// Monotonic: when everything was decided on last.
    decided_all: Duration,
    /// Tables whose runs have ended since the last tick.
    touched: BTreeSet<String>,
    /// Tables with something to run.
    ready: BTreeSet<String>,
    seen: Seen,
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
            decider: Decider::default(),
            decided_all: Duration::ZERO,
            touched: BTreeSet::new(),
            ready: BTreeSet::new(),
            seen: Seen::default(),
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
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut inputs = true;
        loop {
            let version = self.tick(inputs).await;
            let cluster = self.executor.cluster.clone();
            inputs = tokio::select! {
                Some(done) = self.tasks.join_next() => { self.finished(done); false }
                _ = cluster.catalog_after(version) => false,
                _ = look.tick() => true,
                () = self.shared.wake.notified() => true,
            };
            while let Some(done) = self.tasks.try_join_next() {
                self.finished(done);
            }
        }
    }

    /// Looks, decides and starts; the version of the catalog that it looked at. `inputs`: look at tables that others write, too.
    async fn tick(&mut self, inputs: bool) -> u64 {
        let busy: BTreeSet<_> = self.running.values().map(|(id, _)| *id).collect();
        let tick = self.follower.collect(&busy, inputs).await;
        let clock = self.executor.cluster.clock().monotonic();
        let all = self.shared.all.swap(false, Ordering::Relaxed) || clock >= self.decided_all + DECIDE_ALL;
        let ended = std::mem::take(&mut self.touched);
        let touched = tick.touched.as_ref().map(|t| t.union(&ended).cloned().collect::<BTreeSet<_>>());
        let failures = self.refresh_failures(&tick, touched.as_ref().filter(|_| !all));
        let decided = self.decide(&tick, &failures, touched, all);
        self.note_idle(&tick, &decided);
        self.seen.promoting = self.follower.promoting() && self.promote(&tick.catalog).await;
        let started = self.start(&tick);
        if all {
            self.decided_all = clock;
            let all = self.follower.artifacts().keys().cloned().collect::<Vec<_>>();
            self.note_idle(&tick, &all);
            self.move_cursors(&tick.catalog).await;
        }
        self.show(&tick.catalog, &failures, decided.iter().chain(&started));
        tick.catalog.version
    }

    /// What has failed and is held back, without what is worth another attempt by now.
    fn refresh_failures(&self, tick: &Tick, touched: Option<&BTreeSet<String>>) -> Vec<Failure> {
        let catalog = &tick.catalog;
        self.shared.failures(|failures| {
            if failures.is_empty() {
                return Vec::new();
            }
            let refresh = |definition: &Definition| {
                if let Some(published) = catalog.published(definition.table) {
                    failures.refresh(published, &definition.fingerprint);
                }
            };
            match touched {
                None => catalog.definitions.values().map(AsRef::as_ref).for_each(refresh),
                Some(names) => names.iter().filter_map(|name| catalog.definition(name)).for_each(refresh),
            }
            tick.news.iter().for_each(|n| failures.inputs_changed(n.table, &n.windows, n.retries));
            failures.list()
        })
    }

    /// Decides on what was touched (`None`: on everything, of other definitions) or, as time has passed, on all; notes what may run.
    /// The names of what may be shown otherwise.
    fn decide(&mut self, tick: &Tick, failures: &[Failure], touched: Option<BTreeSet<String>>, all: bool) -> Vec<String> {
        let facts = Facts {
            now: tick.now,
            catalog: &tick.catalog,
            artifacts: self.follower.artifacts(),
            earliest: self.follower.earliest(),
            pending: self.follower.pending(),
            failures,
            last_run: &self.last_run,
            idle: &self.idle,
            max_windows: MAX_WINDOWS,
        };
        let mut decided: Vec<String> = match touched {
            Some(touched) => {
                let others = if all { self.decider.decide_again(&facts) } else { self.decider.decide(&facts, &touched) };
                touched.into_iter().chain(others).collect()
            }
            None => {
                self.decider.decide_all(&facts);
                self.ready.clear();
                tick.catalog.definitions.keys().cloned().collect()
            }
        };
        for name in &decided {
            let Some(decision) = self.decider.of(name) else { continue };
            if decision.runs.is_empty() {
                self.ready.remove(name)
            } else {
                self.ready.insert(name.clone())
            };
        }
        decided.retain(|name| tick.catalog.definitions.contains_key(name));
        decided
    }

    /// Notes which of these tables have a schedule and nothing due.
    fn note_idle(&mut self, tick: &Tick, names: &[String]) {
        let has_schedule = |name: &String| self.follower.artifacts().get(name).is_some_and(|a| a.timing.schedule.is_some());
        for name in names.iter().filter(|name| has_schedule(name)) {
            let is_idle = self.decider.of(name).is_some_and(|d| d.due.is_empty()) && !self.running.contains_key(name);
            if let Some(definition) = tick.catalog.definition(name).filter(|_| is_idle) {
                self.idle.insert(definition.table, tick.now);
            }
        }
    }

    /// Lets changed definitions take their place if they have caught up; whether they have.
    async fn promote(&self, catalog: &Catalog) -> bool {
        let Some(command) = promotion::ready(catalog, &self.decider) else { return false };
        if let Err(e) = self.executor.cluster.submit(command).await {
            tracing::warn!(error = %e, "changed definitions could not take their place; tried again");
        }
        true
    }

    /// Brings what people see up to date for these tables.
    fn show<'a>(&mut self, catalog: &Catalog, failures: &[Failure], names: impl Iterator<Item = &'a String>) {
        let broken = |name: &str| self.follower.broken(name).cloned();
        let sources = Sources {
            catalog,
            decisions: &self.decider,
            failures,
            artifacts: self.follower.artifacts(),
            running: &self.running,
            last: &self.last,
            broken: &broken,
        };
        self.seen.retain(catalog);
        names.for_each(|name| self.seen.update(name, &sources));
        self.seen.as_of = self.follower.as_of();
        self.shared.seen.send_replace(self.seen.clone());
    }

    /// Starts runs of tables that have waited longest; the names of those tables.
    fn start(&mut self, tick: &Tick) -> Vec<String> {
        let mut started = Vec::new();
        if self.tasks.len() >= AT_ONCE {
            return started;
        }
        let now = self.executor.cluster.clock().monotonic();
        let mut candidates: Vec<_> = self.ready.iter().filter(|name| !self.running.contains_key(*name)).cloned().collect();
        candidates.sort_by_key(|name| self.last.get(name).map(|r| r.ended_at));
        for name in candidates {
            if self.tasks.len() >= AT_ONCE {
                break;
            }
            let planned = self.decider.of(&name).and_then(|decision| Some((decision, decision.runs.first()?)));
            let Some(work) = planned.and_then(|(decision, planned)| self.work(&tick.catalog, decision, planned)) else { continue };
            if self.resting.get(&work.table.id).is_some_and(|until| now < *until) {
                continue;
            }
            self.spawn(tick, work);
            started.push(name);
        }
        started
    }

    fn spawn(&mut self, tick: &Tick, work: Work) {
        let running = Running { windows: work.windows(), reason: work.plan.reason, since: tick.now };
        let published = tick.catalog.published(work.table.id);
        let forced = published.is_some_and(|p| !p.forced.intersect(&running.windows).is_empty());
        self.running.insert(work.table.name.clone(), (work.table.id, running));
        let executor = self.executor.clone();
        self.tasks.spawn(async move {
            let outcome = executor.run(&work).await;
            (Box::new(work), forced, outcome)
        });
    }

    /// A planned run with everything fixed; `None` if an input was not looked at yet.
    fn work(&self, catalog: &Catalog, decision: &Decision, planned: &PlannedRun) -> Option<Work> {
        let compiled = self.follower.compiled(&decision.table)?;
        let Compiled { artifact, fingerprint, .. } = compiled.as_ref();
        let table = catalog.table(&decision.table)?.clone();
        let ranges = planned.range.map(|_| self.shared.failures(|f| f.narrow(table.id, &alike(decision, planned))));
        let input = |table: &Arc<Table>, id: TableId| {
            Some(PinnedInput {
                version: self.follower.pin(id, table.id)?.clone(),
                pending: self.follower.pending().get(&(id, table.id)).cloned().unwrap_or_default(),
                since: computed_from(catalog, id, table.id),
                columns: compiled.columns(&table.name).to_vec(),
                table: table.clone(),
            })
        };
        let inputs = artifact.inputs.iter().map(|i| input(catalog.table(&i.name)?, table.id)).collect::<Option<_>>()?;
        Some(Work {
            artifact: artifact.clone(),
            fingerprint: fingerprint.clone(),
            seen: version(catalog, table.id),
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
                self.touched.extend(self.running.drain().map(|(name, _)| name));
                return;
            }
        };
        let (id, computed, clock) = (work.table.id, work.windows(), self.executor.cluster.clock());
        self.running.remove(&work.table.name);
        self.touched.insert(work.table.name.clone());
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
    async fn move_cursors(&mut self, catalog: &Catalog) {
        let now = self.executor.cluster.clock().monotonic();
        for decision in self.decider.decisions().filter(|d| d.runs.is_empty() && !self.running.contains_key(&d.table)) {
            let Some(definition) = catalog.definition(&decision.table) else { continue };
            let moved = *self.moved.entry(definition.table).or_insert(now);
            if now < moved + MOVE_CURSORS {
                continue;
            }
            let mut inputs = lagging(catalog, &self.follower, definition.table);
            if self.follower.artifacts().get(&decision.table).is_some_and(|a| a.follows_rows()) {
                // Which rows are new or touched is known only as long as their changes are ahead of the cursor.
                inputs.retain(|i| i.newly_dirty.is_empty());
            }
            if inputs.is_empty() {
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
fn lagging(catalog: &Catalog, follower: &Follower, table: TableId) -> Vec<InputProgress> {
    let followed = catalog.published(table).map(|p| p.inputs.as_slice()).unwrap_or_default();
    let one = |f: &common::catalog::FollowedInput| {
        let pin = follower.pin(table, f.input).filter(|pin| !f.cursor.is_empty() && **pin != f.cursor)?;
        let newly_dirty: RangeSet = follower.pending().get(&(table, f.input)).cloned().unwrap_or_default();
        Some(InputProgress { input: f.input, cursor: pin.clone(), newly_dirty })
    };
    followed.iter().filter_map(one).collect()
}
