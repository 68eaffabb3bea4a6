//! All engines on the same rows: A B C D A B C D …, each figure next to its rivals' in time.

use super::Workload;
use super::requests::{Requests, Whole, sorted};
use crate::checksum::{Checksum, ColumnSum};
use crate::engines::{self, Engine, EngineName, RowRange, Settings};
use crate::events::{Event, Generator};
use crate::machine;
use crate::report::Results;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use tokio::runtime::Runtime;

/// Rows of one batch.
pub const BATCH: usize = 500;
/// Bytes of block cache where reads are to miss it.
const SMALL_CACHE: u64 = 4 << 20;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rows.
    pub rows: usize,
    /// How often everything is done.
    pub rounds: usize,
    /// Point reads of each kind a round.
    pub reads: usize,
    /// Clients at once.
    pub threads: usize,
    /// In this order.
    pub engines: Vec<EngineName>,
    /// In this order.
    pub workloads: Vec<Workload>,
    /// Where engines' folders are made.
    pub dir: PathBuf,
    /// Bytes of block cache.
    pub cache_bytes: u64,
    /// Bytes of write buffer.
    pub memtable_bytes: usize,
    /// Whether Stele's table has a time column.
    pub sliced: bool,
}

/// One open engine.
struct Side {
    name: EngineName,
    dir: PathBuf,
    engine: Box<dyn Engine>,
}

/// The events and the right answers.
struct World {
    events: Vec<Event>,
    sorted: Vec<u32>,
    whole: Whole,
}

/// Runs the plan.
///
/// # Errors
/// If an engine fails or gives a wrong answer.
pub fn run(plan: &Plan, runtime: &Arc<Runtime>) -> Result<Results> {
    eprintln!("making {} events", plan.rows);
    let events: Vec<_> = Generator::new(plan.rows, 1).collect();
    let world = World { sorted: sorted(&events), whole: Whole::of(&events), events };
    let mut results = Results::new(plan.rounds);
    for round in 0..plan.rounds {
        Round { plan, runtime, world: &world, round, results: &mut results }.run()?;
    }
    Ok(results)
}

/// Does one read workload on Stele alone again and again for so many seconds, for a profiler to watch.
///
/// # Errors
/// If the engine fails or gives a wrong answer.
pub fn repeat(plan: &Plan, runtime: &Arc<Runtime>, workload: Workload, seconds: u64) -> Result<()> {
    let events: Vec<_> = Generator::new(plan.rows, 1).collect();
    let world = World { sorted: sorted(&events), whole: Whole::of(&events), events };
    let mut results = Results::new(1);
    let mut round = Round { plan, runtime, world: &world, round: 0, results: &mut results };
    let mut sides = round.load(&plan.dir, false, Workload::Unsynced)?;
    let requests = Requests::new(&world.events, &world.sorted, plan.reads, 0);
    eprintln!("process {}: {} for {seconds} s", std::process::id(), workload.title());
    let until = Instant::now() + std::time::Duration::from_secs(seconds);
    while Instant::now() < until {
        sides.iter_mut().try_for_each(|side| round.read(workload, side, &requests))?;
    }
    Ok(())
}

struct Round<'a> {
    plan: &'a Plan,
    runtime: &'a Arc<Runtime>,
    world: &'a World,
    round: usize,
    results: &'a mut Results,
}

impl Round<'_> {
    fn run(&mut self) -> Result<()> {
        let written = [Workload::Durable, Workload::Amplification, Workload::DataAmplification];
        let writes = self.plan.workloads.iter().any(|w| written.contains(w));
        let folder = self.plan.dir.join(format!("round-{}", self.round));
        let mut sides = self.load(&folder.join("durable"), writes, Workload::Durable)?;
        self.bytes(&sides)?;
        let requests = Requests::new(&self.world.events, &self.world.sorted, self.plan.reads, self.round as u64);
        for workload in self.plan.workloads.clone() {
            for side in &mut sides {
                if side.engine.does(workload) {
                    self.read(workload, side, &requests).with_context(|| format!("{}: {}", side.name.text(), workload.title()))?;
                }
            }
        }
        drop(sides);
        std::fs::remove_dir_all(folder.join("durable"))?;
        if self.plan.workloads.contains(&Workload::Unsynced) {
            drop(self.load(&folder.join("unsynced"), false, Workload::Unsynced)?);
        }
        Ok(std::fs::remove_dir_all(&folder)?)
    }

    fn record(&mut self, workload: Workload, side: EngineName, figure: f64) {
        if self.plan.workloads.contains(&workload) {
            eprintln!("round {} {:<40} {:<10} {figure:>14.2} {}", self.round + 1, workload.title(), side.text(), workload.unit());
            self.results.add(workload, side, figure);
        }
    }

    /// Opens every engine and writes all rows into it.
    fn load(&mut self, folder: &std::path::Path, sync: bool, workload: Workload) -> Result<Vec<Side>> {
        let mut sides = Vec::new();
        for &name in &self.plan.engines {
            let dir = folder.join(name.text());
            let settings = Settings {
                dir: dir.clone(),
                cache_bytes: self.plan.cache_bytes,
                memtable_bytes: self.plan.memtable_bytes,
                sync,
                sliced: self.plan.sliced,
                runtime: self.runtime.clone(),
            };
            let engine = engines::open(name, settings).with_context(|| format!("open {}", name.text()))?;
            let before = machine::bytes_written();
            let started = Instant::now();
            write_all(engine.as_ref(), &self.world.events, self.plan.threads).with_context(|| format!("write to {}", name.text()))?;
            let seconds = (engine.settle()? - started).as_secs_f64();
            if engine.does(workload) {
                self.record(workload, name, self.plan.rows as f64 / seconds);
            }
            if sync && engine.does(Workload::Amplification) {
                let written = machine::bytes_written() - before;
                let over = |bytes: u64| bytes as f64 / self.world.whole.bytes as f64;
                self.record(Workload::Amplification, name, over(written));
                if let Some(log) = engine.log_bytes() {
                    self.record(Workload::DataAmplification, name, over(written.saturating_sub(log)));
                }
            }
            sides.push(Side { name, dir, engine });
        }
        Ok(sides)
    }

    fn bytes(&mut self, sides: &[Side]) -> Result<()> {
        for side in sides.iter().filter(|s| s.engine.does(Workload::Bytes)) {
            self.record(Workload::Bytes, side.name, side.engine.data_bytes()? as f64 / self.plan.rows as f64);
        }
        Ok(())
    }

    fn read(&mut self, workload: Workload, side: &mut Side, requests: &Requests) -> Result<()> {
        let (threads, name) = (self.plan.threads, side.name);
        let rate = match workload {
            Workload::Gets => {
                let get = |engine: &dyn Engine| gets(engine, &requests.gets, requests.got, threads);
                get(side.engine.as_ref())?;
                get(side.engine.as_ref())?
            }
            Workload::Missing => {
                let get = |engine: &dyn Engine| gets(engine, &requests.missing, Checksum::default(), threads);
                get(side.engine.as_ref())?;
                get(side.engine.as_ref())?
            }
            Workload::Ranges => {
                ranges(side.engine.as_ref(), &requests.ranges, requests.ranged, threads)?;
                ranges(side.engine.as_ref(), &requests.ranges, requests.ranged, threads)?
            }
            Workload::Scan | Workload::Columns => return self.scans(workload, side),
            Workload::Uncached => {
                side.engine.reopen(SMALL_CACHE)?;
                machine::forget_cached(&side.dir)?;
                let rate = gets(side.engine.as_ref(), &requests.uncached, requests.got_uncached, threads)?;
                side.engine.reopen(self.plan.cache_bytes)?;
                rate
            }
            Workload::ScanAgain | Workload::ColumnsAgain => return Ok(()),
            Workload::Durable | Workload::Unsynced | Workload::Bytes | Workload::Amplification | Workload::DataAmplification => {
                return Ok(());
            }
        };
        self.record(workload, name, rate);
        Ok(())
    }

    /// A scan with an empty block cache, and once more with what that has left there.
    fn scans(&mut self, workload: Workload, side: &mut Side) -> Result<()> {
        let Whole { rows, columns: three, .. } = self.world.whole;
        side.engine.reopen(self.plan.cache_bytes)?;
        machine::read_all(&side.dir)?;
        let again = if workload == Workload::Scan { Workload::ScanAgain } else { Workload::ColumnsAgain };
        for workload_of_run in [workload, again] {
            let engine = side.engine.as_ref();
            let rate = if workload == Workload::Scan { scan(engine, rows)? } else { columns(engine, three)? };
            self.record(workload_of_run, side.name, rate);
        }
        Ok(())
    }
}

/// Writes all events, each client its own batches.
fn write_all(engine: &dyn Engine, events: &[Event], threads: usize) -> Result<()> {
    on_threads(events.chunks(BATCH).collect(), threads, |batches| batches.iter().try_for_each(|batch| engine.write(batch))).map(|_| ())
}

/// Gives each of `threads` clients its share of the work; what each made of it.
fn on_threads<W: Sync, T: Send>(work: Vec<W>, threads: usize, client: impl Fn(&[W]) -> Result<T> + Sync) -> Result<Vec<T>> {
    if threads <= 1 {
        return Ok(vec![client(&work)?]);
    }
    let share = work.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let clients: Vec<_> = work.chunks(share).map(|mine| scope.spawn(|| client(mine))).collect();
        clients.into_iter().map(|c| c.join().map_err(|_| anyhow::anyhow!("a client panicked"))?).collect()
    })
}

fn gets(engine: &dyn Engine, keys: &[Vec<u8>], right: Checksum, threads: usize) -> Result<f64> {
    let started = Instant::now();
    let sums = on_threads(keys.chunks(keys.len().div_ceil(threads).max(1)).collect(), threads, |mine| {
        let mut sum = Checksum::default();
        mine.iter().try_for_each(|keys| engine.get_all(keys, &mut sum))?;
        Ok(sum)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    same(&sums, right)?;
    Ok(keys.len() as f64 / seconds)
}

fn ranges(engine: &dyn Engine, ranges: &[RowRange], right: Checksum, threads: usize) -> Result<f64> {
    let started = Instant::now();
    let sums = on_threads(ranges.chunks(ranges.len().div_ceil(threads).max(1)).collect(), threads, |mine| {
        let mut sum = Checksum::default();
        mine.iter().try_for_each(|ranges| engine.range_all(ranges, &mut sum))?;
        Ok(sum)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    same(&sums, right)?;
    Ok(ranges.len() as f64 / seconds)
}

fn same(sums: &[Checksum], right: Checksum) -> Result<()> {
    let mut all = Checksum::default();
    sums.iter().for_each(|s| all.merge(*s));
    ensure!(all == right, "wrong answer: {all:?}, not {right:?}");
    Ok(())
}

fn scan(engine: &dyn Engine, right: Checksum) -> Result<f64> {
    let started = Instant::now();
    let mut sum = Checksum::default();
    engine.scan(&mut sum)?;
    let seconds = started.elapsed().as_secs_f64();
    same(&[sum], right)?;
    Ok(right.rows as f64 / seconds)
}

fn columns(engine: &dyn Engine, right: ColumnSum) -> Result<f64> {
    let started = Instant::now();
    let mut sum = ColumnSum::default();
    engine.scan_columns(&mut sum)?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(sum == right, "wrong answer: {sum:?}, not {right:?}");
    Ok(right.rows as f64 / seconds)
}
