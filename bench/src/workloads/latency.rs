//! Whether compaction disturbs readers: the 99th percentile of cached point reads at a fifth of what one client can do,
//! while a compaction runs and while none does.

use super::solo::{Place, Solo};
use crate::codec;
use crate::engines::stele;
use crate::events::{Event, Generator};
use crate::report::Spread;
use anyhow::{Result, ensure};
use common::ids::Seq;
use common::row::ReadSpec;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use storage::Tablet;

/// Part of a client's full rate.
const LOAD: f64 = 0.2;
/// How long reads are measured without compaction.
const CALM: Duration = Duration::from_secs(2);
/// At most this many times the calm percentile.
const BAR: f64 = 2.0;

/// Sizes of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows in the tablet.
    pub rows: usize,
    /// How often both are measured.
    pub rounds: usize,
}

async fn get(tablet: &Tablet, key: &[u8]) -> Result<()> {
    ensure!(tablet.read_row(key, &ReadSpec::default(), Seq::MAX).await?.is_some(), "a row is missing");
    Ok(())
}

/// Latencies in µs of reads that are begun at a fixed rate until told to stop; a late read is late for those behind it.
async fn paced(tablet: &Tablet, keys: &[Vec<u8>], every: Duration, stop: impl Fn() -> bool) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    let mut due = Instant::now();
    for key in keys.iter().cycle() {
        if stop() {
            break;
        }
        // The runtime's timer is too coarse, a thread's own sleep is not.
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        // A read that waited for another counts from when it was due; the sleep's own delay does not count.
        let begun = if early.is_zero() { due } else { Instant::now() };
        get(tablet, key).await?;
        latencies.push(begun.elapsed().as_secs_f64() * 1e6);
        due = due.max(begun) + every;
    }
    Ok(latencies)
}

fn percentile(mut latencies: Vec<f64>, part: f64) -> f64 {
    latencies.sort_by(f64::total_cmp);
    let at = (latencies.len() as f64 * part) as usize;
    latencies.get(at.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
}

async fn full_rate(tablet: &Tablet, keys: &[Vec<u8>]) -> Result<f64> {
    let started = Instant::now();
    for key in keys {
        get(tablet, key).await?;
    }
    Ok(keys.len() as f64 / started.elapsed().as_secs_f64())
}

/// The latencies of paced reads from the beginning of a full compaction to its end.
async fn while_compacting(tablet: &Tablet, keys: &[Vec<u8>], every: Duration) -> Result<Vec<f64>> {
    let ended = Arc::new(AtomicBool::new(false));
    let (compacted, end) = (tablet.clone(), ended.clone());
    let compaction = tokio::spawn(async move {
        let result = compacted.compact().await;
        end.store(true, Ordering::SeqCst);
        result
    });
    let latencies = paced(tablet, keys, every, || ended.load(Ordering::SeqCst)).await?;
    compaction.await??;
    Ok(latencies)
}

/// Measures and reports.
///
/// # Errors
/// Those of the engine, and a missed bar.
pub async fn run(dir: PathBuf, sizes: Sizes) -> Result<()> {
    let tune = |config: &mut storage::EngineConfig| config.cache_bytes = 2 << 30;
    let solo = Solo::open(Place::new(dir, stele::table(false)?, tune)).await?;
    let events: Vec<Event> = Generator::new(sizes.rows, 1).collect();
    solo.load(events.iter().cloned()).await?;
    solo.tablet.flush().await?;
    let mut random = StdRng::seed_from_u64(1);
    let keys: Vec<_> = (0..20_000).map(|_| codec::key_of(&events[random.random_range(0..events.len())])).collect();
    let mut ratios = Vec::new();
    for round in 1..=sizes.rounds {
        // Something to merge.
        solo.load(events.iter().skip(round).step_by(20).cloned()).await?;
        solo.tablet.flush().await?;
        full_rate(&solo.tablet, &keys).await?;
        let rate = full_rate(&solo.tablet, &keys).await?;
        let every = Duration::from_secs_f64(1.0 / (rate * LOAD));
        let until = Instant::now() + CALM;
        let calm = paced(&solo.tablet, &keys, every, || Instant::now() >= until).await?;
        let busy = while_compacting(&solo.tablet, &keys, every).await?;
        let (n, m) = (calm.len(), busy.len());
        let (calm, busy) = (percentile(calm, 0.99), percentile(busy, 0.99));
        println!("round {round}: {rate:.0} reads/s; p99 {calm:.0} µs of {n} reads calm, {busy:.0} µs of {m} while compacting");
        ratios.push(busy / calm);
    }
    let Some(spread) = Spread::of(&ratios) else { return Ok(()) };
    println!("p99 while compacting ÷ p99 calm: {:.2} [{:.2} – {:.2}] (bar ≤ {BAR})", spread.median, spread.min, spread.max);
    ensure!(spread.median <= BAR * 1.1, "the bar is missed");
    solo.close().await
}
