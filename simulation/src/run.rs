//! One run, from its beginning to its verdict.

use crate::checks;
use crate::clock::BEGIN;
use crate::cluster::{Stage, World, populate};
use crate::operator;
use crate::plan::{Fault, Kind, Plan, Victim};
use crate::trace::Trace;
use anyhow::{Context, Result};
use common::store::Faults;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use turmoil::Sim;

/// Virtual time passes in such steps; a message waits for the next one.
const TICK: Duration = Duration::from_millis(4);
/// The cluster is up after so long.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);
/// All is well so long after the last fault: more than any patience in the product.
const WELL_WITHIN: Duration = Duration::from_secs(120);
/// A process that has ended is started again after this long.
const RESTART: Duration = Duration::from_millis(300);

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed that gives this run again.
    pub seed: u64,
    /// Of all events, and the state of the random generators at the end.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How long it went on, in virtual time.
    pub time: Duration,
    /// Acknowledged writes.
    pub acks: usize,
    /// What it consisted of.
    pub plan: Plan,
    /// What must not be.
    pub wrong: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, hash, events, time, acks, plan, wrong } = self;
        let faults = plan.faults.len();
        let verdict = if wrong.is_empty() { "right" } else { "WRONG" };
        writeln!(f, "seed {seed} {verdict} hash {hash:016x} events {events} time {time:?} acks {acks} faults {faults}")?;
        if !wrong.is_empty() {
            writeln!(f, "  {plan:?}")?;
        }
        wrong.iter().try_for_each(|w| writeln!(f, "  {w}"))
    }
}

/// The run of this plan; `seed` draws what it leaves open. `trace` names a file for its events.
///
/// # Errors
/// What keeps it from beginning.
pub fn run(seed: u64, plan: Plan, trace: Option<&Path>) -> Result<Outcome> {
    log();
    let panics = note_panics();
    let trace = Trace::new(trace).context("cannot make the file for the trace")?;
    let world = World::new(plan, seed, trace.clone())?;
    let mut sim = turmoil::Builder::new()
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN))
        .simulation_duration(BEGUN_WITHIN + world.plan.time + WELL_WITHIN + Duration::from_secs(3600))
        .tick_duration(TICK)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::from_millis(12))
        .tcp_capacity(1 << 16)
        .rng_seed(seed)
        .build();
    populate(&mut sim, &world, seed);
    let mut driver = Driver { world: world.clone(), began: None, settled: None, active: Vec::new(), next: 0, down: BTreeMap::new() };
    let stuck = loop {
        match sim.step() {
            Ok(true) => break None,
            Ok(false) => {}
            Err(e) => break Some(e.to_string()),
        }
        if let Some(late) = driver.look(&mut sim) {
            break Some(late);
        }
    };
    let time = sim.elapsed();
    // What tasks do when they are dropped is no part of the run.
    let (_, events) = trace.digest();
    let mut wrong: Vec<String> = stuck.into_iter().chain(panics.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect();
    match world.last() {
        Some(last) => wrong.extend(checks::all(&world.witness.seen(), &last)),
        None => wrong.push(format!("it did not end: {}", world.awaited())),
    }
    trace.note(
        "run",
        format_args!("{:016x} {:016x}", rand::random::<u64>(), std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)),
    );
    let (hash, _) = trace.digest();
    let acks = world.witness.seen().acks.len();
    Ok(Outcome { seed, hash, events, time, acks, plan: world.plan.clone(), wrong })
}

/// `STELE_SIM_LOG` says what is logged to the standard error, as in `info` or `tabletserver=debug`.
fn log() {
    let Ok(filter) = std::env::var("STELE_SIM_LOG") else { return };
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).with_timer(VirtualTime);
    // A second run in one process goes on with the first one's.
    let _ = subscriber.try_init();
}

struct VirtualTime;

impl tracing_subscriber::fmt::time::FormatTime for VirtualTime {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> fmt::Result {
        write!(w, "{:?}", crate::witness::now())
    }
}

/// A panic ends a task only: nobody would see it.
fn note_panics() -> Arc<Mutex<Vec<String>>> {
    let panics: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, before) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
        before(panic);
    }));
    panics
}

/// Does to the hosts what the plan says, when it says so.
struct Driver {
    world: Arc<World>,
    /// When clients began.
    began: Option<Duration>,
    /// When the last fault was over.
    settled: Option<Duration>,
    /// Faults under way, and whom they befell.
    active: Vec<(Fault, String)>,
    /// The next fault to begin.
    next: usize,
    /// Hosts without a process, and when they get one.
    down: BTreeMap<String, Duration>,
}

impl Driver {
    /// After each step; what makes it pointless to go on.
    fn look(&mut self, sim: &mut Sim<'_>) -> Option<String> {
        let now = sim.elapsed();
        for host in self.world.ended() {
            sim.crash(host.as_str());
            self.world.lose_unsynced(&host);
            self.down.entry(host).or_insert(now + RESTART);
        }
        let due: Vec<String> = self.down.iter().filter(|(_, at)| **at <= now).map(|(host, _)| host.clone()).collect();
        for host in due {
            self.down.remove(&host);
            self.world.note(&host, format_args!("starts at {now:?}"));
            sim.bounce(host.as_str());
        }
        match (self.world.stage(), self.began, self.settled) {
            (Stage::Begin, ..) => return (now > BEGUN_WITHIN).then(|| "the cluster did not come up".into()),
            (_, None, _) => self.began = Some(now),
            (_, Some(began), None) => self.faults(sim, now, began),
            (_, _, Some(settled)) if now > settled + WELL_WITHIN => return Some(format!("not well {WELL_WITHIN:?} after the last fault")),
            _ => {}
        }
        None
    }

    fn faults(&mut self, sim: &mut Sim<'_>, now: Duration, began: Duration) {
        while let Some(fault) = self.world.plan.faults.get(self.next).filter(|f| began + f.at <= now).cloned() {
            self.next += 1;
            let victim = match &fault.victim {
                Victim::Host(host) => Some(host.clone()),
                Victim::Leader => self.world.leader(),
            };
            if let Some(victim) = victim {
                self.world.note(&victim, format_args!("{:?} at {now:?}", fault.kind));
                tracing::info!(victim, kind = ?fault.kind, "a fault begins");
                self.begin(sim, &fault, &victim, began);
                self.active.push((fault, victim));
            }
        }
        let (over, active) = self.active.drain(..).partition(|(fault, _)| began + fault.until <= now);
        self.active = active;
        for (fault, victim) in over {
            self.end(sim, &fault, &victim);
        }
        if self.next == self.world.plan.faults.len() && self.active.is_empty() && now >= began + self.world.plan.time {
            self.settled = Some(now);
            self.world.enter(Stage::Settle);
        }
    }

    fn begin(&mut self, sim: &mut Sim<'_>, fault: &Fault, victim: &str, began: Duration) {
        let others = self.others(victim);
        match &fault.kind {
            Kind::Crash => {
                sim.crash(victim);
                self.world.lose_unsynced(victim);
                self.down.insert(victim.to_owned(), began + fault.until);
            }
            Kind::Isolated => others.iter().for_each(|other| sim.partition(victim, other.as_str())),
            Kind::Parted(other) if other != victim => sim.partition(victim, other.as_str()),
            Kind::Muted(other) if other != victim => sim.partition_oneway(victim, other.as_str()),
            Kind::Parted(_) | Kind::Muted(_) => {}
            Kind::Held => others.iter().for_each(|other| sim.hold(victim, other.as_str())),
            Kind::Storeless => self.world.store_of(victim).into_iter().for_each(|store| store.cut(true)),
            Kind::FlakyStore(faults) => self.world.store_of(victim).into_iter().for_each(|store| store.set(*faults)),
        }
    }

    fn end(&mut self, sim: &mut Sim<'_>, fault: &Fault, victim: &str) {
        let others = self.others(victim);
        match &fault.kind {
            Kind::Crash => {}
            Kind::Isolated => others.iter().for_each(|other| sim.repair(victim, other.as_str())),
            Kind::Parted(other) if other != victim => sim.repair(victim, other.as_str()),
            Kind::Muted(other) if other != victim => sim.repair_oneway(victim, other.as_str()),
            Kind::Parted(_) | Kind::Muted(_) => {}
            Kind::Held => others.iter().for_each(|other| sim.release(victim, other.as_str())),
            Kind::Storeless => self.world.store_of(victim).into_iter().for_each(|store| store.cut(false)),
            Kind::FlakyStore(_) => self.world.store_of(victim).into_iter().for_each(|store| store.set(Faults::default())),
        }
    }

    fn others(&self, victim: &str) -> Vec<String> {
        let all = self.world.plan.hosts().into_iter().chain([operator::HOST.to_owned()]);
        all.filter(|host| host != victim).collect()
    }
}
