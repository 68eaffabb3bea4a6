//! Whether reads cost what they return and not what there is: a scan of one day and a change scan of late rows over a
//! table of users first and times second, with 1, 10 and 100 days of history, each fully compacted and read without cache.

use super::solo::{Place, Solo};
use crate::engines::stele;
use crate::events::{DAY_MICROS, Event, Generator, START_MICROS};
use crate::store::Counts;
use anyhow::{Result, ensure};
use common::ids::Seq;
use common::key::KeyRange;
use common::row::ReadSpec;
use common::time::{Micros, TimeRange};
use futures::TryStreamExt;
use std::path::Path;

/// Late rows, spread over one day of the history.
const LATE: usize = 1_000;
/// At most so much more at 100× than at 1×.
const SLACK: f64 = 1.25;

/// Sizes of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows of one day.
    pub rows_a_day: usize,
    /// Days of history, rising.
    pub days: [usize; 3],
}

/// What the two scans cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    day: Counts,
    changes: Counts,
}

/// Events of `days` days; the users of all days are the same.
fn history(rows_a_day: usize, days: usize) -> impl Iterator<Item = Event> {
    (0..days).flat_map(move |day| one_day(rows_a_day, day, day as u64))
}

fn one_day(rows: usize, day: usize, seed: u64) -> impl Iterator<Item = Event> {
    let first = START_MICROS + day as i64 * DAY_MICROS;
    let step = DAY_MICROS / rows as i64;
    Generator::new(rows, seed).enumerate().map(move |(i, e)| {
        let at = first + i as i64 * step;
        Event { at, received_at: at + 1_000_000, ..e }
    })
}

async fn measure(dir: &Path, sizes: Sizes, days: usize) -> Result<Cost> {
    let mut solo = Solo::open(Place::new(dir.to_owned(), stele::table(true)?, |_| {})).await?;
    solo.load(history(sizes.rows_a_day, days)).await?;
    solo.tablet.flush().await?;
    solo.tablet.compact().await?;
    let before = solo.tablet.visible();
    solo.tablet.set_pin(Some(before));
    let day = days / 2;
    let late = one_day(LATE, day, 1_000).map(|e| Event { event_id: e.event_id + 1, ..e });
    solo.load(late).await?;
    solo.tablet.flush().await?;
    solo.tablet.compact().await?;
    let stats = solo.tablet.stats();
    println!("{days} days: {} rows, {} B in {} SSTables", stats.row_estimate, stats.stored_bytes, stats.sstables);

    solo.reopen_pinned(before).await?;
    let first = Micros(START_MICROS + day as i64 * DAY_MICROS);
    let event_time = TimeRange { start: first, end: Micros(first.0 + DAY_MICROS) };
    let started = solo.store.counts();
    let spec = ReadSpec { event_time: Some(event_time), ..ReadSpec::default() };
    let rows: Vec<_> = solo.tablet.read(spec, Seq::MAX)?.try_concat().await?;
    let wanted = rows.iter().filter(|r| in_range(&r.key, event_time)).count();
    ensure!(wanted == sizes.rows_a_day + LATE, "{wanted} rows of the day, not {}", sizes.rows_a_day + LATE);
    let day_cost = solo.store.counts().since(started);

    solo.reopen_pinned(before).await?;
    let started = solo.store.counts();
    let changed: Vec<_> = solo.tablet.changes(before, Seq::MAX, KeyRange::ALL)?.try_concat().await?;
    ensure!(changed.len() == LATE && changed.iter().all(|c| c.old.is_none()), "{} changed rows, not {LATE} new ones", changed.len());
    let cost = Cost { day: day_cost, changes: solo.store.counts().since(started) };
    solo.close().await?;
    Ok(cost)
}

fn in_range(key: &[u8], times: TimeRange) -> bool {
    crate::codec::decode_key(key).is_ok_and(|(_, at, _)| times.start.0 <= at && at < times.end.0)
}

/// Measures and reports.
///
/// # Errors
/// Those of the engine, wrong answers, and a missed bar.
pub async fn run(dir: &Path, sizes: Sizes) -> Result<()> {
    let mut costs = Vec::new();
    for days in sizes.days {
        let folder = dir.join(days.to_string());
        let cost = measure(&folder, sizes, days).await?;
        println!("  one-day scan: {} requests, {} B", cost.day.gets, cost.day.bytes_read);
        println!("  changes of {LATE} late rows: {} requests, {} B", cost.changes.gets, cost.changes.bytes_read);
        std::fs::remove_dir_all(&folder)?;
        costs.push(cost);
    }
    let (Some(least), Some(most)) = (costs.first(), costs.last()) else { return Ok(()) };
    let ratio = |of: fn(&Cost) -> u64| of(most) as f64 / of(least).max(1) as f64;
    let ratios = [
        ("one-day scan, requests", ratio(|c| c.day.gets)),
        ("one-day scan, bytes", ratio(|c| c.day.bytes_read)),
        ("change scan, requests", ratio(|c| c.changes.gets)),
        ("change scan, bytes", ratio(|c| c.changes.bytes_read)),
    ];
    for (what, ratio) in ratios {
        println!("{what}, longest ÷ shortest history: {ratio:.2} (bar ≤ {SLACK})");
    }
    ensure!(ratios.iter().all(|(_, r)| *r <= SLACK), "the bar is missed");
    Ok(())
}
