//! Write amplification under uniform writes: 100 memtables of rows with random keys, a third of them overwrites.

use super::solo::{Place, Solo};
use crate::engines::stele;
use crate::events::{Event, Generator, START_MICROS};
use crate::machine;
use crate::report::figure;
use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;

/// Memtables written.
const MEMTABLES: usize = 100;
/// Bytes of one, as the engine weighs them.
const MEMTABLE_BYTES: usize = 4 << 20;
/// At most this many bytes to SSTables for each byte flushed.
const BAR: f64 = 8.0;

fn uniform(rows: usize) -> impl Iterator<Item = Event> {
    let mut random = StdRng::seed_from_u64(5);
    Generator::new(rows, 5).map(move |e| {
        let user = random.random_range(0..rows);
        Event { user_id: format!("u{user:010}"), at: START_MICROS, event_id: 0, ..e }
    })
}

/// Writes and reports.
///
/// # Errors
/// Those of the engine, and a missed bar.
pub async fn run(dir: PathBuf) -> Result<()> {
    // At half of the budget a memtable is flushed.
    let tune = |config: &mut storage::EngineConfig| config.memtable_bytes = 2 * MEMTABLE_BYTES;
    let solo = Solo::open(Place::new(dir, stele::table(false)?, tune)).await?;
    let weight: usize = uniform(200).map(|e| solo.writer.mutation(&e).weight()).sum::<usize>() / 200;
    let rows = MEMTABLES * MEMTABLE_BYTES / weight;
    solo.load(uniform(rows)).await?;
    solo.tablet.flush().await?;
    let counted = || solo.engine.metrics().sstable_bytes_written;
    let _ = tokio::task::block_in_place(|| machine::wait_until_quiet(counted));
    let (m, stats) = (solo.engine.metrics(), solo.tablet.stats());
    let factor = m.write_amplification();
    println!("{rows} rows of {weight} B as the memtable weighs them, {} flushes, {} compactions", m.flushes, m.compactions);
    let bytes = [m.flush_bytes_written, m.sstable_bytes_written, m.log_bytes].map(|n| figure(n as f64));
    println!("flushed {}B, SSTables written {}B, log {}B", bytes[0], bytes[1], bytes[2]);
    println!("stored {}B in {} SSTables", figure(stats.stored_bytes as f64), stats.sstables);
    println!("space amplification, as estimated: {:.2}", stats.space_amplification());
    println!("write amplification, log not counted: {factor:.2} (bar ≤ {BAR})");
    ensure!(factor <= BAR * 1.1, "the bar is missed");
    solo.close().await
}
