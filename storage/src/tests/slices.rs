//! Slices of event time: what a read of one day costs, and what becomes of days that are past or too old.

use super::harness::{World, bytes, family, read, spec, values, write};
use crate::Tablet;
use bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, RowMutation};
use common::schema::{GcRule, Table, TableKind, TableSpec};
use common::time::{Clock, Micros, TimeRange};
use common::value::Value;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// A day's midnight, in days since 1970.
const TODAY: i64 = 20_000;

/// A table of events by user, newest first.
fn events(age: Option<u64>) -> TableSpec {
    let mut spec = spec();
    spec.key = serde_json::from_value(serde_json::json!([{"user": "string"}, {"at": "timestamp desc"}])).unwrap();
    spec.time_column = Some("at".into());
    if let Some(seconds) = age {
        spec.families.values_mut().for_each(|f| f.gc = Some(GcRule::MaxAgeSeconds(seconds)));
    }
    spec
}

fn key(user: usize, at: Micros) -> Bytes {
    let table = Table::create(common::ids::TableId(5), TableKind::Raw, events(None)).unwrap();
    table.key_schema().encode(&[Some(Value::String(format!("user{user:02}"))), Some(Value::Timestamp(at))]).unwrap()
}

fn midnight(day: i64) -> Micros {
    Micros(day * DAY.as_micros() as i64)
}

async fn world(age: Option<u64>) -> (World, Arc<crate::Engine>, Tablet) {
    let mut world = World::new();
    world.spec = events(age);
    world.clock.advance(Duration::from_micros(midnight(TODAY).0 as u64) - Duration::from_micros(world.clock.now().0 as u64));
    let (engine, tablet) = world.start().await;
    (world, engine, tablet)
}

/// An event of each of 20 users at each of these times.
async fn write_events(t: &Tablet, times: impl Iterator<Item = Micros>) {
    for at in times {
        let event = |user| {
            let set = Mutation::Set { family: family("all"), qualifier: bytes("q"), timestamp: Some(at), value: bytes("event") };
            RowMutation { key: key(user, at), mutations: vec![set] }
        };
        t.write((0..20).map(event).collect(), None).await.unwrap();
    }
}

async fn write_day(t: &Tablet, day: i64) {
    write_events(t, (0..24).map(|h| midnight(day).after(HOUR * h))).await;
}

fn of_day(day: i64) -> ReadSpec {
    ReadSpec { event_time: Some(TimeRange { start: midnight(day), end: midnight(day + 1) }), ..ReadSpec::default() }
}

#[tokio::test]
async fn a_scan_of_one_day_costs_the_same_whatever_the_history() {
    let mut costs = Vec::new();
    for history in [1, 10, 100] {
        let (mut world, _, t) = world(None).await;
        for day in TODAY - 10 - history..TODAY - 10 {
            write_day(&t, day).await;
        }
        t.flush().await.unwrap();
        t.compact().await.unwrap();
        assert_eq!(t.stats().sstables as i64, history, "one SSTable a day");
        // A new life, for an empty cache; its opening reads what it reads.
        let (engine, t) = world.start().await;
        let before = engine.metrics();
        let rows = read(&t, of_day(TODAY - 11), Seq::MAX).await;
        let after = engine.metrics();
        assert_eq!(rows.len(), 24 * 20);
        costs.push((after.store_gets - before.store_gets, after.sstable_bytes_read - before.sstable_bytes_read));
    }
    println!("requests and bytes of a one-day scan at 1, 10, 100 days: {costs:?}");
    // Seqs of a longer history take a few more digits.
    let same = |cost: &(u64, u64)| cost.0 == costs[0].0 && cost.1 <= costs[0].1 * 21 / 20;
    assert!(costs.iter().all(same), "{costs:?}");
}

#[tokio::test]
async fn a_range_of_one_users_times_reads_only_its_slices() {
    let (mut world, _, t) = world(None).await;
    for day in TODAY - 30..TODAY - 10 {
        write_day(&t, day).await;
    }
    t.flush().await.unwrap();
    let (engine, t) = world.start().await;
    let before = engine.metrics().cache_misses;
    let newest_first = KeyRange::new(key(3, midnight(TODAY - 15)), Some(key(3, midnight(TODAY - 16))));
    let rows = read(&t, ReadSpec::range(newest_first), Seq::MAX).await;
    assert_eq!(rows.len(), 24);
    let misses = engine.metrics().cache_misses - before;
    assert!(misses <= 12, "blocks of two days at most, not {misses}");
}

#[tokio::test]
async fn hours_become_days_and_late_rows_lie_in_their_own_slice() {
    let (world, _, t) = world(None).await;
    write_events(&t, (0..6).map(|h| midnight(TODAY).before(HOUR * h))).await;
    t.flush().await.unwrap();
    assert_eq!(t.stats().sstables, 6, "an SSTable an hour");
    world.clock.advance(4 * DAY);
    t.inner_for_tests().compact_as_chosen_for_tests().await.unwrap();
    assert_eq!(t.stats().sstables, 2, "a day and the first hour of the next");
    write_events(&t, [midnight(TODAY).before(HOUR * 3), midnight(TODAY + 4)].into_iter()).await;
    t.flush().await.unwrap();
    assert_eq!(t.stats().sstables, 4);
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 3);
    assert_eq!(read(&t, ReadSpec::default(), Seq::MAX).await.len(), 7 * 20);
}

#[tokio::test]
async fn an_expired_sstable_is_dropped_whole_once_nobody_needs_its_deletes() {
    let (world, engine, t) = world(Some(10 * 86_400)).await;
    for day in TODAY - 5..TODAY - 2 {
        write_day(&t, day).await;
        t.flush().await.unwrap();
    }
    t.compact().await.unwrap();
    let before = engine.metrics();
    world.clock.advance(6 * DAY + HOUR);
    t.inner_for_tests().compact_as_chosen_for_tests().await.unwrap();
    let after = engine.metrics();
    assert_eq!((after.sstables_dropped_whole - before.sstables_dropped_whole, t.stats().sstables), (1, 2));
    assert_eq!(after.compaction_bytes_read, before.compaction_bytes_read, "without reading it");
    // The row's delete lies in the day's slice, above what it hides.
    let gone = key(3, midnight(TODAY - 4));
    write(&t, RowMutation { key: gone, mutations: vec![Mutation::DeleteRow] }).await;
    t.flush().await.unwrap();
    world.clock.advance(20 * DAY);
    t.inner_for_tests().compact_as_chosen_for_tests().await.unwrap();
    assert_eq!(t.stats().sstables, 0);
    assert!(values(&t, Seq::MAX).await.is_empty());
}
