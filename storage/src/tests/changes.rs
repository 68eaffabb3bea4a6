//! What a change scan costs.

use super::harness::{World, bytes, family_of};
use crate::{Engine, Tablet, TabletOpen};
use common::ids::{Seq, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, RowChange, RowMutation};
use common::schema::{Table, TableKind, TableSpec};
use common::time::Micros;
use common::value::Value;
use futures::TryStreamExt;
use std::sync::Arc;
use std::time::Duration;

const DAY: i64 = 86_400_000_000;
const USERS: usize = 100;
const LATE: usize = 1000;

/// A user-first table: every day lies everywhere among the keys.
fn events() -> Arc<Table> {
    let spec: TableSpec = serde_json::from_value(serde_json::json!({
        "name": "test.events", "undeclared": "none", "time_column": "at",
        "key": [{"user": "string"}, {"at": "timestamp desc"}],
        "families": {"all": {}},
    }))
    .unwrap();
    Arc::new(Table::create(common::ids::TableId(5), TableKind::Raw, spec).unwrap())
}

fn event(table: &Table, user: usize, at: i64, value: &str) -> RowMutation {
    let parts = [Some(Value::String(format!("user{user:04}"))), Some(Value::Timestamp(Micros(at)))];
    let key = table.key_schema().encode(&parts).unwrap();
    let set = Mutation::Set { family: family_of(table), qualifier: bytes("q"), timestamp: None, value: bytes(value) };
    RowMutation { key, mutations: vec![set] }
}

struct Cost {
    bytes: u64,
    blocks: u64,
    changes: Vec<RowChange>,
}

async fn scan(engine: &Engine, t: &Tablet, from: Seq) -> Cost {
    let before = engine.metrics();
    let changes: Vec<_> = t.changes(from, Seq::MAX, KeyRange::ALL).unwrap().try_concat().await.unwrap();
    let after = engine.metrics();
    let bytes = after.sstable_bytes_read - before.sstable_bytes_read;
    Cost { bytes, blocks: after.cache_misses - before.cache_misses, changes }
}

/// The cost of finding late rows of one day behind so many days of history, all compacted.
async fn late_rows_after(days: i64) -> Cost {
    let mut world = World::new();
    world.clock.advance(Duration::from_secs(400 * 86_400));
    let table = events();
    let open = |world: &World| TabletOpen { tablet: TabletId(9), table: events(), ..world.opening() };
    let engine = world.engine().await;
    let t = engine.open_tablet(open(&world)).await.unwrap();
    for day in 0..days {
        let rows = (0..USERS).flat_map(|user| (0..4).map(move |n| (user, day * DAY + n * 1_000_000)));
        let rows = rows.map(|(user, at)| event(&table, user, at, "early")).collect();
        t.write(rows, None).await.unwrap();
    }
    t.flush().await.unwrap();
    t.compact().await.unwrap();
    let from = t.visible();
    // Half of them replace what there was.
    let late = (0..LATE).map(|i| event(&table, i % USERS, (i / USERS) as i64 * 500_000, "late")).collect();
    t.write(late, None).await.unwrap();
    t.flush().await.unwrap();
    t.set_pin(Some(from));
    t.compact().await.unwrap();
    let engine = world.engine().await;
    let t = engine.open_tablet(open(&world)).await.unwrap();
    scan(&engine, &t, from).await
}

#[tokio::test]
async fn a_change_scan_of_late_rows_costs_the_same_however_long_the_history_is() {
    let [one, ten, hundred] = [late_rows_after(2).await, late_rows_after(20).await, late_rows_after(200).await];
    assert_eq!(one.changes.len(), LATE);
    assert_eq!(one.changes.iter().filter(|c| c.old.is_some()).count(), 400);
    for more in [ten, hundred] {
        assert_eq!(more.changes, one.changes);
        let text = format!("{} and {} bytes, {} and {} blocks", one.bytes, more.bytes, one.blocks, more.blocks);
        assert!(more.bytes <= one.bytes * 11 / 10 && more.blocks <= one.blocks + 2, "{text}");
    }
}
