//! Deletes of row ranges: one record, seen by every kind of read, kept as long as it hides something.

use super::harness::{World, bytes, changes, delete_row, family, set, values, write};
use common::ErrorKind;
use common::conditional::{CellTest, CheckAndMutate, Predicate, ReadModifyWrite, ValueTest};
use common::ids::{Seq, TabletId};
use common::key::KeyRange;
use common::row::ReadSpec;
use common::schema::TableKind;

fn range(a: &'static str, b: &'static str) -> KeyRange {
    KeyRange::new(a, Some(bytes(b)))
}

#[tokio::test]
async fn a_row_range_delete_hides_what_is_older_and_nothing_else() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    for key in ["a", "b", "c", "d"] {
        write(&t, set(key, "1")).await;
    }
    t.flush().await.unwrap();
    let committed = t.delete_range(range("b", "d"), Some([7; 16])).await.unwrap();
    assert_eq!(committed.seq, Seq(5));
    assert_eq!(t.delete_range(range("b", "d"), Some([7; 16])).await.unwrap(), committed, "a repetition gets the first answer");
    write(&t, set("c", "2")).await;
    for round in 0..3 {
        assert_eq!(values(&t, Seq::MAX).await, ["a=1", "c=2", "d=1"], "{round}");
        assert_eq!(t.read_row(b"b", &ReadSpec::default(), Seq::MAX).await.unwrap(), None);
        if round == 0 {
            assert_eq!(values(&t, Seq(4)).await.len(), 4);
        }
        match round {
            0 => t.flush().await.unwrap(),
            _ => t.compact().await.unwrap(),
        }
    }
    let t = world.start().await.1;
    assert_eq!(values(&t, Seq::MAX).await, ["a=1", "c=2", "d=1"]);
}

#[tokio::test]
async fn a_row_range_delete_is_recovered_from_the_log() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    write(&t, set("a", "1")).await;
    write(&t, set("b", "1")).await;
    let committed = t.delete_range(range("a", "b"), Some([7; 16])).await.unwrap();
    let t = world.start().await.1;
    assert_eq!(values(&t, Seq::MAX).await, ["b=1"]);
    assert_eq!(t.delete_range(range("a", "b"), Some([7; 16])).await.unwrap(), committed);
}

#[tokio::test]
async fn change_scans_expand_row_range_deletes() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    for key in ["a", "b", "c", "d"] {
        write(&t, set(key, "1")).await;
    }
    t.flush().await.unwrap();
    t.delete_range(range("b", "d"), None).await.unwrap();
    write(&t, set("d", "2")).await;
    write(&t, delete_row("zz")).await;
    for _ in 0..2 {
        let found = changes(&t, Seq(4), Seq::MAX).await;
        let keys: Vec<_> = found.iter().map(|c| (c.key.clone(), c.old.is_some(), c.new.is_some())).collect();
        assert_eq!(keys, [(bytes("b"), true, false), (bytes("c"), true, false), (bytes("d"), true, true)]);
        t.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_row_range_delete_goes_with_the_last_that_it_hides() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    write(&t, set("a", "1")).await;
    t.flush().await.unwrap();
    t.delete_range(range("a", "c"), None).await.unwrap();
    t.flush().await.unwrap();
    t.set_pins(&[Seq(1)]);
    t.compact().await.unwrap();
    assert_eq!((t.stats().sstables, values(&t, Seq(1)).await.len(), values(&t, Seq::MAX).await.len()), (1, 1, 0));
    t.set_pins(&[]);
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 0);
}

#[tokio::test]
async fn conditional_writes_see_row_range_deletes() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    let increment = || ReadModifyWrite::increment(bytes("a"), family("all"), bytes("n"), 1);
    for flushed in [false, true] {
        write(&t, set("a", "1")).await;
        t.delete_range(range("a", "b"), None).await.unwrap();
        if flushed {
            t.flush().await.unwrap();
        }
        let test = CellTest::newest(family("all"), bytes("q"), ValueTest::equals(bytes("1")));
        let request =
            CheckAndMutate { key: bytes("a"), predicate: Predicate::Cell(test), then: Vec::new(), otherwise: set("x", "1").mutations };
        assert!(!t.check_and_mutate(request, None).await.unwrap().matched);
        let modified = t.read_modify_write(increment(), None).await.unwrap();
        assert_eq!(modified.row.cells[0].value.as_ref(), 1i64.to_be_bytes());
    }
    let (deleted, modified) = futures::join!(t.delete_range(range("a", "b"), None), t.read_modify_write(increment(), None));
    assert!(deleted.unwrap().seq < modified.as_ref().unwrap().committed.seq);
    assert_eq!(modified.unwrap().row.cells[0].value.as_ref(), 1i64.to_be_bytes(), "the delete was in flight");
}

#[tokio::test]
async fn derived_tables_and_foreign_ranges_take_no_row_range_deletes() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    assert_eq!(t.delete_range(range("b", "b"), None).await.unwrap_err().kind, ErrorKind::InvalidArgument);
    let open = crate::TabletOpen { tablet: TabletId(10), range: range("b", "c"), ..world.opening() };
    let narrow = engine.open_tablet(open).await.unwrap();
    assert_eq!(narrow.delete_range(range("b", "d"), None).await.unwrap_err().kind, ErrorKind::NotMine);
    let mut world = World::of(TableKind::Derived);
    let (_, t) = world.start().await;
    assert_eq!(t.delete_range(range("a", "b"), None).await.unwrap_err().kind, ErrorKind::FailedPrecondition);
}

#[tokio::test]
async fn an_sstable_dropped_whole_takes_what_it_held_out_of_reach() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    for key in ["a", "b"] {
        write(&t, set(key, "1")).await;
    }
    t.flush().await.unwrap();
    let deleted = t.delete_range(range("a", "c"), None).await.unwrap().seq;
    t.flush().await.unwrap();
    t.inner_for_tests().compact_as_chosen_for_tests().await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, [""; 0]);
    // Nothing holds the states in which the rows were there: they are refused, not answered from what is left.
    let lost = t.changes(Seq(1), deleted, KeyRange::ALL).err().map(|e| e.kind);
    assert_eq!(lost, Some(ErrorKind::ChangesLost));
}
