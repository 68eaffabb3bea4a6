//! Conditional writes and read-modify-writes.

use super::harness::{World, bytes, family, read, set, set_at, values, write};
use crate::Tablet;
use bytes::Bytes;
use common::conditional::{CellTest, CheckAndMutate, Checked, Modified, Modify, ModifyRule, Predicate, ReadModifyWrite, ValueTest};
use common::ids::Seq;
use common::row::{Columns, Mutation, ReadSpec};
use common::time::{Micros, TimeRange};
use common::{ErrorKind, Result};
use std::time::Duration;

fn increment(key: &str, by: i64) -> ReadModifyWrite {
    ReadModifyWrite::increment(bytes(key), family("all"), bytes("n"), by)
}

fn number(modified: &Modified) -> i64 {
    i64::from_be_bytes(modified.row.cells[0].value.as_ref().try_into().unwrap())
}

async fn add(tablet: &Tablet, key: &str, by: i64) -> Result<i64> {
    tablet.read_modify_write(increment(key, by), None).await.map(|m| number(&m))
}

/// Sets `all:q` to `then` if its newest value is `is`, else to `otherwise`.
fn check(key: &str, is: &str, then: &str, otherwise: &str) -> CheckAndMutate {
    let to = |value: &str| if value.is_empty() { Vec::new() } else { set(key, value).mutations };
    let predicate = Predicate::Cell(CellTest::newest(family("all"), bytes("q"), ValueTest::equals(bytes(is))));
    CheckAndMutate { key: bytes(key), predicate, then: to(then), otherwise: to(otherwise) }
}

#[tokio::test]
async fn a_thousand_increments_wait_for_the_log_together_and_none_is_lost() {
    let mut world = World::new();
    let (engine, tablet) = world.start().await;
    add(&tablet, "k", 0).await.unwrap();
    tablet.flush().await.unwrap();
    let before = engine.metrics().log_groups;
    let all = (0..2000).map(|i| {
        let tablet = tablet.clone();
        async move { add(&tablet, "k", 1 + i % 3).await.unwrap() }
    });
    let mut all = futures::future::join_all(all);
    // Read from the SSTable, then number: no append has to become durable for the next to be numbered.
    while tablet.inner_for_tests().numbered_for_tests() < Seq(2001) {
        assert!(futures::poll!(&mut all).is_pending());
        tokio::task::yield_now().await;
    }
    let mut results = all.await;
    results.sort_unstable();
    results.dedup();
    let sum: i64 = (0..2000).map(|i| 1 + i % 3).sum();
    assert_eq!((results.len(), results.last()), (2000, Some(&sum)), "each result is another");
    assert!(engine.metrics().log_groups - before < 1000, "{:?}", engine.metrics());
    let (_, tablet) = world.start().await;
    assert_eq!(add(&tablet, "k", 0).await.unwrap(), sum);
}

#[tokio::test]
async fn increments_from_many_threads_are_exact_while_memtables_are_flushed() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let one = |i: usize| {
        let tablet = tablet.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                add(&tablet, "k", 1).await.unwrap();
                if i == 0 {
                    tablet.flush().await.unwrap();
                }
            }
        })
    };
    futures::future::try_join_all((0..16).map(one)).await.unwrap();
    tablet.compact().await.unwrap();
    assert_eq!(add(&tablet, "k", 0).await.unwrap(), 320);
}

#[tokio::test]
async fn a_conditional_write_sees_writes_in_flight_and_is_seen_by_later_ones() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    write(&tablet, set("a", "1")).await;
    let plain = tablet.write(vec![set("a", "2"), set("b", "x")], None);
    let first = tablet.check_and_mutate(check("a", "2", "3", "lost"), None);
    let second = tablet.check_and_mutate(check("a", "3", "4", "lost"), None);
    let delete = tablet.write(vec![super::harness::delete_row("a")], None);
    let third = tablet.check_and_mutate(check("a", "4", "lost", ""), None);
    let (plain, first, second, delete, third) = tokio::join!(plain, first, second, delete, third);
    assert_eq!(plain.unwrap()[0].as_ref().unwrap().seq, Seq(2));
    let seq = |c: Checked| (c.matched, c.committed.map(|c| c.seq.0));
    assert_eq!(seq(first.unwrap()), (true, Some(4)));
    assert_eq!(seq(second.unwrap()), (true, Some(5)));
    assert_eq!(delete.unwrap()[0].as_ref().unwrap().seq, Seq(6));
    assert_eq!(seq(third.unwrap()), (false, None));
    assert_eq!(tablet.visible(), Seq(6), "what was seen is durable");
    assert_eq!(values(&tablet, Seq::MAX).await, ["b=x"]);
}

#[tokio::test]
async fn repetitions_get_the_first_result_also_after_recovery() {
    let mut world = World::new();
    let (_, mut tablet) = world.start().await;
    let id = |n| Some([n; 16]);
    let counted = tablet.read_modify_write(increment("k", 5), id(1)).await.unwrap();
    let (again, other) = tokio::join!(tablet.read_modify_write(increment("k", 5), id(1)), add(&tablet, "k", 1));
    assert_eq!((again.unwrap(), other.unwrap()), (counted.clone(), 6));
    let matched = tablet.check_and_mutate(check("c", "1", "2", "1"), id(2)).await.unwrap();
    let nothing = tablet.check_and_mutate(check("d", "1", "2", ""), id(3)).await.unwrap();
    assert_eq!((matched.matched, nothing.matched, &nothing.committed), (false, false, &None));
    write(&tablet, set("d", "1")).await;
    for flush in [false, true, false] {
        if flush {
            tablet.flush().await.unwrap();
        }
        world.clock.advance(Duration::from_secs(5));
        tablet = world.start().await.1;
        assert_eq!(tablet.read_modify_write(increment("k", 5), id(1)).await.unwrap(), counted);
        assert_eq!(tablet.check_and_mutate(check("c", "1", "2", "1"), id(2)).await.unwrap(), matched);
        assert_eq!(tablet.check_and_mutate(check("d", "1", "2", ""), id(3)).await.unwrap(), nothing, "though it would match now");
        let kind = tablet.write(vec![set("a", "1")], id(1)).await.unwrap_err().kind;
        assert_eq!(kind, ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn rules_apply_in_order_and_each_column_gets_one_new_cell() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let future = 9_000_000_000;
    write(&tablet, set_at("k", "all", Some(future), "ab")).await;
    let rule = |q: &str, modify| ModifyRule { family: family("all"), qualifier: bytes(q), modify };
    let rules = vec![
        rule("q", Modify::Append(bytes("c"))),
        rule("n", Modify::Increment(2)),
        rule("q", Modify::Append(bytes("d"))),
        rule("n", Modify::Increment(3)),
    ];
    let modified = tablet.read_modify_write(ReadModifyWrite { key: bytes("k"), rules, timestamp: Some(Micros(7)) }, None).await.unwrap();
    let cells: Vec<_> = modified.row.cells.iter().map(|c| (c.qualifier.clone(), c.timestamp.0, c.value.clone())).collect();
    let five = Bytes::copy_from_slice(&5i64.to_be_bytes());
    assert_eq!(cells, [(bytes("n"), 7, five), (bytes("q"), future, bytes("abcd"))]);
    let rows = read(&tablet, ReadSpec { cells_per_column: 0, ..ReadSpec::row(b"k") }, Seq::MAX).await;
    assert_eq!(rows[0].cells.len(), 2, "a cell of the same timestamp is replaced");
}

#[tokio::test]
async fn a_counter_of_many_stored_versions_is_cut_and_a_delete_still_shows_an_older_one() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    for i in 0..100i64 {
        let at = |n: i64| Mutation::Set {
            family: family("all"),
            qualifier: bytes("n"),
            timestamp: Some(Micros(n)),
            value: Bytes::copy_from_slice(&n.to_be_bytes()),
        };
        write(&tablet, common::row::RowMutation { key: bytes("k"), mutations: vec![at(i)] }).await;
    }
    tablet.flush().await.unwrap();
    let append = || {
        let rule = ModifyRule { family: family("all"), qualifier: bytes("n"), modify: Modify::Increment(1000) };
        ReadModifyWrite { key: bytes("k"), rules: vec![rule], timestamp: Some(Micros(0)) }
    };
    let mut expected = 99;
    for round in 0..4 {
        let modified = tablet.read_modify_write(append(), None).await.unwrap();
        expected += 1000;
        assert_eq!((number(&modified), modified.row.cells[0].timestamp.0), (expected, 99 - round));
        // The newest cell goes: the one below it shows.
        let (family, qualifier) = (family("all"), bytes("n"));
        let timestamps = TimeRange { start: Micros(99 - round), end: Micros(100 - round) };
        let delete = Mutation::DeleteColumn { family, qualifier, timestamps };
        write(&tablet, common::row::RowMutation { key: bytes("k"), mutations: vec![delete] }).await;
        expected = 98 - round;
        if round == 2 {
            tablet.flush().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_no_counter_is_refused_and_nothing_is_written() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    write(&tablet, set("k", "text")).await;
    let rule = |q: &str, modify| ModifyRule { family: family("all"), qualifier: bytes(q), modify };
    let both = vec![rule("n", Modify::Increment(1)), rule("q", Modify::Increment(1))];
    let refused = tablet.read_modify_write(ReadModifyWrite { key: bytes("k"), rules: both, timestamp: None }, None).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::FailedPrecondition);
    assert!(refused.message.contains("4 bytes"), "{refused}");
    add(&tablet, "k", i64::MAX).await.unwrap();
    assert!(add(&tablet, "k", 1).await.unwrap_err().message.contains("leaves the range"));
    assert_eq!(add(&tablet, "k", -1).await.unwrap(), i64::MAX - 1);
    let none = CheckAndMutate { then: Vec::new(), otherwise: Vec::new(), ..check("k", "x", "", "") };
    assert_eq!(tablet.check_and_mutate(none, None).await.unwrap_err().kind, ErrorKind::InvalidArgument);
    let mut wrong = check("k", "x", "y", "z");
    wrong.otherwise.push(Mutation::DeleteFamily { family: common::ids::FamilyId(99) });
    assert_eq!(tablet.check_and_mutate(wrong, None).await.unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(tablet.visible(), Seq(3));
}

#[tokio::test]
async fn predicates_see_versions_times_and_deletes() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    for (t, value) in [(10, "old"), (20, "new")] {
        write(&tablet, set_at("k", "all", Some(t), value)).await;
    }
    let test = |cells_per_column, timestamps, value: &str| {
        let columns = Columns::Some(vec![(family("all"), None)]);
        Predicate::Cell(CellTest { columns, timestamps, cells_per_column, value: ValueTest::equals(bytes(value)) })
    };
    let to = |end| TimeRange { start: Micros::MIN, end: Micros(end) };
    let absent = Predicate::Not(Box::new(Predicate::Cell(CellTest::exists())));
    let cases = [
        ("k", test(1, TimeRange::ALL, "old"), false),
        ("k", test(0, TimeRange::ALL, "old"), true),
        ("k", test(1, to(20), "old"), true),
        ("k", test(0, to(10), "old"), false),
        ("k", Predicate::All(vec![test(1, TimeRange::ALL, "new"), test(1, to(20), "old")]), true),
        ("k", absent.clone(), false),
        ("none", absent, true),
    ];
    for flushed in [false, true] {
        for (key, predicate, matches) in cases.clone() {
            let write =
                CheckAndMutate { key: bytes(key), predicate: predicate.clone(), then: Vec::new(), otherwise: set("x", "y").mutations };
            let unwritten = CheckAndMutate { then: write.otherwise.clone(), otherwise: Vec::new(), ..write };
            // Only what holds writes; nothing is left for the next case.
            let predicate = if matches { Predicate::Not(Box::new(predicate)) } else { predicate };
            let checked = tablet.check_and_mutate(CheckAndMutate { predicate: predicate.clone(), ..unwritten }, None).await.unwrap();
            assert!(!checked.matched, "{predicate:?}");
        }
        if !flushed {
            tablet.flush().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_write() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let mut gone = Box::pin(tablet.read_modify_write(increment("k", 3), None));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    assert_eq!(add(&tablet, "k", 1).await.unwrap(), 4);
    let mut gone = Box::pin(tablet.write(vec![set("a", "1")], None));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    while tablet.visible() < Seq(3) {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&tablet, ReadSpec::row(b"a"), Seq::MAX).await.len(), 1);
}
