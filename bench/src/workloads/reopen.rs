//! How long a large tablet takes to open, and what is read for it.

use super::solo::{Place, Solo};
use crate::engines::stele;
use crate::events::{Event, Generator};
use crate::machine;
use crate::report::{Spread, figure};
use anyhow::{Result, ensure};
use common::ids::Seq;
use common::row::ReadSpec;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::path::PathBuf;
use std::time::Instant;

/// Bytes of a row's text, which does not compress.
const TEXT_BYTES: usize = 8 << 10;
/// At most this many ms.
const BAR_MILLIS: f64 = 100.0;

/// Sizes of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// MiB of rows.
    pub mib: usize,
    /// How often it is opened.
    pub rounds: usize,
}

fn large(rows: usize) -> impl Iterator<Item = Event> {
    let mut random = StdRng::seed_from_u64(9);
    Generator::new(rows, 9).map(move |e| {
        let mut bytes = vec![0; TEXT_BYTES];
        random.fill_bytes(&mut bytes);
        // Seven bits of chance in each byte.
        let message = bytes.into_iter().map(|b| char::from(b & 0x7F)).collect();
        Event { message, ..e }
    })
}

/// Builds, opens again and reports.
///
/// # Errors
/// Those of the engine, and a missed bar.
pub async fn run(dir: PathBuf, sizes: Sizes) -> Result<()> {
    let rows = (sizes.mib << 20) / TEXT_BYTES;
    let mut solo = Solo::open(Place::new(dir.clone(), stele::table(false)?, |_| {})).await?;
    let started = Instant::now();
    solo.load(large(rows)).await?;
    solo.tablet.flush().await?;
    let (stats, m) = (solo.tablet.stats(), solo.engine.metrics());
    println!(
        "built {}B in {} SSTables in {:.0} s, {} compactions",
        figure(stats.stored_bytes as f64),
        stats.sstables,
        started.elapsed().as_secs_f64(),
        m.compactions
    );
    let key = large(1).map(|e| crate::codec::key_of(&e)).next().unwrap_or_default();
    let mut times = Vec::new();
    for round in 1..=sizes.rounds {
        solo.close().await?;
        machine::forget_cached(&dir)?;
        solo.restart().await?;
        let before = solo.store.counts();
        let started = Instant::now();
        solo.open_tablet().await?;
        let millis = started.elapsed().as_secs_f64() * 1e3;
        let opened = solo.store.counts().since(before);
        let started = Instant::now();
        let rows: Vec<_> = solo.tablet.read(ReadSpec::row(&key), Seq::MAX)?.try_concat().await?;
        ensure!(rows.len() <= 1, "{} rows of one key", rows.len());
        let first = started.elapsed().as_secs_f64() * 1e3;
        let read = solo.store.counts().since(before);
        println!(
            "round {round}: open {millis:.1} ms, {} reads of {} B, {} puts, {} lists; first read {first:.1} ms, {} reads of {} B",
            opened.gets,
            opened.bytes_read,
            opened.puts,
            opened.lists,
            read.gets - opened.gets,
            read.bytes_read - opened.bytes_read
        );
        times.push(millis);
    }
    let Some(spread) = Spread::of(&times) else { return Ok(()) };
    println!("open: {:.1} ms [{:.1} – {:.1}] (bar < {BAR_MILLIS})", spread.median, spread.min, spread.max);
    ensure!(spread.median < BAR_MILLIS * 1.1, "the bar is missed");
    solo.close().await
}
