//! Sums, minima and maxima that writers add without reading.

use super::harness::{World, bytes, changes, family, read, write};
use crate::Tablet;
use crate::manifest::ManifestStore;
use bytes::Bytes;
use common::ErrorKind;
use common::conditional::{CellTest, CheckAndMutate, Predicate, ValueTest};
use common::ids::{RunId, Seq};
use common::row::{Aggregate, Columns, Mutation, ReadSpec, RowMutation};
use common::schema::{StoredQualifier, TableKind};
use common::time::{Micros, TimeRange};

fn combine(aggregate: Aggregate, value: i64) -> Mutation {
    Mutation::Combine { family: family("all"), qualifier: bytes("n"), timestamp: Micros(7), aggregate, value }
}

fn row(mutations: Vec<Mutation>) -> RowMutation {
    RowMutation { key: bytes("a"), mutations }
}

async fn add(t: &Tablet, n: i64) -> Seq {
    write(t, row(vec![combine(Aggregate::Sum, n)])).await
}

async fn value(t: &Tablet, at: Seq) -> Option<i64> {
    let rows = read(t, ReadSpec::default(), at).await;
    rows.first().map(|r| i64::from_be_bytes(r.cells[0].value.as_ref().try_into().unwrap()))
}

#[tokio::test]
async fn a_counter_counts_each_write_once_whatever_happens_between() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    let id = Some([7; 16]);
    for _ in 0..2 {
        t.write(vec![row(vec![combine(Aggregate::Sum, 1)])], id).await.unwrap();
    }
    assert_eq!(value(&t, Seq::MAX).await, Some(1), "a repetition is answered, not added");
    let two = add(&t, 2).await;
    t.flush().await.unwrap();
    for n in [4, 8] {
        add(&t, n).await;
    }
    assert_eq!((value(&t, two).await, value(&t, Seq::MAX).await), (Some(3), Some(15)));
    let (_, t) = world.start().await;
    t.set_pin(Some(two));
    for _ in 0..2 {
        assert_eq!((value(&t, two).await, value(&t, Seq::MAX).await), (Some(3), Some(15)));
        let seen = changes(&t, two, t.visible()).await;
        assert_eq!(seen.iter().map(|c| (c.old.is_some(), c.new.is_some())).collect::<Vec<_>>(), [(true, true)]);
        t.compact().await.unwrap();
    }
    t.set_pin(None);
    t.compact().await.unwrap();
    assert_eq!(value(&t, Seq::MAX).await, Some(15));
    add(&t, i64::MAX).await;
    assert_eq!(value(&t, Seq::MAX).await, Some(i64::MAX.wrapping_add(15)), "a sum wraps around");
}

#[tokio::test]
async fn many_writers_of_one_cell_do_not_wait_for_each_other_and_nothing_is_lost() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    let before = engine.metrics().log_groups;
    let all = (0..500).map(|n| add(&t, n));
    futures::future::join_all(all).await;
    assert!(engine.metrics().log_groups - before < 100);
    assert_eq!(value(&t, Seq::MAX).await, Some(500 * 499 / 2));
    t.flush().await.unwrap();
    t.compact().await.unwrap();
    assert_eq!(value(&t, Seq::MAX).await, Some(500 * 499 / 2));
    let (_, manifest) = ManifestStore::newest(world.store.clone(), t.id()).await.unwrap().unwrap();
    assert_eq!(manifest.sstables.iter().map(|s| s.puts).sum::<u64>(), 1, "the parts have become one");
}

#[tokio::test]
async fn values_deletes_and_conditions_meet_aggregates() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    let set = |n: i64| Mutation::Set {
        family: family("all"),
        qualifier: bytes("n"),
        timestamp: Some(Micros(7)),
        value: Bytes::copy_from_slice(&n.to_be_bytes()),
    };
    write(&t, row(vec![set(100), combine(Aggregate::Max, 50)])).await;
    assert_eq!(value(&t, Seq::MAX).await, Some(100));
    write(&t, row(vec![combine(Aggregate::Min, 60)])).await;
    add(&t, 5).await;
    assert_eq!(value(&t, Seq::MAX).await, Some(65));
    let test = CellTest { columns: Columns::All, timestamps: TimeRange::ALL, cells_per_column: 1, value: ValueTest::Int64(65, 65) };
    let then = vec![Mutation::DeleteRow, combine(Aggregate::Sum, 1)];
    let check = CheckAndMutate { key: bytes("a"), predicate: Predicate::Cell(test), then, otherwise: Vec::new() };
    assert!(t.check_and_mutate(check.clone(), None).await.unwrap().matched);
    assert_eq!(value(&t, Seq::MAX).await, Some(1), "what it was added to is deleted");
    assert!(!t.check_and_mutate(check, None).await.unwrap().matched);
}

#[tokio::test]
async fn what_cannot_be_combined_is_refused() {
    let refused = async |t: &Tablet, mutations| {
        let result = t.write(vec![row(mutations)], None).await.unwrap().remove(0);
        result.unwrap_err().kind
    };
    let mut world = World::new();
    let (_, t) = world.start().await;
    let two = vec![combine(Aggregate::Sum, 1), combine(Aggregate::Max, 1)];
    assert_eq!(refused(&t, two).await, ErrorKind::InvalidArgument);
    let mut world = World::new();
    world.spec.columns = serde_json::from_value(serde_json::json!([{"name": "s", "type": "string", "family": "all"}])).unwrap();
    let (_, t) = world.start().await;
    let column = t.table().column("s").unwrap().clone();
    let (family, qualifier, timestamp) = (column.family, StoredQualifier::Declared(column.id).encode(), Micros(1));
    let text = Mutation::Combine { family, qualifier, timestamp, aggregate: Aggregate::Sum, value: 1 };
    assert_eq!(refused(&t, vec![text]).await, ErrorKind::InvalidArgument);
    let mut world = World::new();
    world.spec.append_only = true;
    let (_, t) = world.start().await;
    assert_eq!(refused(&t, vec![combine(Aggregate::Sum, 1)]).await, ErrorKind::FailedPrecondition);
    let mut world = World::of(TableKind::Derived);
    let (_, t) = world.start().await;
    let staged = t.stage(RunId(1), 0, vec![row(vec![combine(Aggregate::Sum, 1)])]).await;
    assert_eq!(staged.unwrap_err().kind, ErrorKind::InvalidArgument);
}
