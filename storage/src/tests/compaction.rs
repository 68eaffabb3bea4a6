use super::harness::{World, bytes, changes, delete_row, family, set, set_at, values, write};
use common::ErrorKind;
use common::ids::Seq;
use common::row::{Mutation, ReadSpec, RowMutation};
use futures::TryStreamExt;
use std::time::Duration;

#[tokio::test]
async fn old_sstables_are_deleted_only_when_no_manifest_names_them_and_no_reader_holds_them() {
    let mut world = World::new();
    let (_engine, t) = world.start().await;
    for key in ["a", "b", "c"] {
        write(&t, set(key, "1")).await;
        t.flush().await.unwrap();
    }
    let reading = t.read(ReadSpec::default(), Seq::MAX).unwrap();
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 1);
    assert_eq!(world.objects("tablets/9/sst").await.len(), 4, "an open read holds the old ones");
    assert_eq!(reading.try_concat().await.unwrap().len(), 3);
    for _ in 0..1000 {
        if world.objects("tablets/9/sst").await.len() == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(world.objects("tablets/9/sst").await.len(), 1);
    let (_, t) = world.start().await;
    assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=1", "c=1"]);
}

#[tokio::test]
async fn a_tombstone_is_dropped_only_when_nothing_older_can_lie_below_it() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    write(&t, set("a", "1")).await;
    t.flush().await.unwrap();
    for key in ["a", "b"] {
        write(&t, delete_row(key)).await;
        t.flush().await.unwrap();
    }
    t.inner_for_tests().compact_some_for_tests(34, 100).await.unwrap();
    assert_eq!(t.stats().sstables, 2, "the oldest was not merged");
    assert!(values(&t, Seq::MAX).await.is_empty());
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 0, "at the bottom deletes and what they hide go together");
    let (_, t) = world.start().await;
    assert!(values(&t, Seq::MAX).await.is_empty());
}

#[tokio::test]
async fn a_pin_keeps_changes_and_below_the_floor_they_are_lost() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    for value in ["1", "2", "3"] {
        write(&t, set_at("a", "two", Some(5), value)).await;
    }
    t.flush().await.unwrap();
    t.set_pin(Some(Seq(1)));
    t.compact().await.unwrap();
    assert_eq!(t.floor(), Seq(1));
    let change = changes(&t, Seq(1), Seq::MAX).await.remove(0);
    let value = |row: Option<common::row::Row>| row.unwrap().cells[0].value.clone();
    assert_eq!((value(change.old), value(change.new)), (bytes("1"), bytes("3")));
    t.set_pin(None);
    t.compact().await.unwrap();
    assert_eq!(t.floor(), Seq(3));
    let lost = t.changes(Seq(1), Seq::MAX, common::key::KeyRange::ALL).err().unwrap();
    assert_eq!(lost.kind, ErrorKind::ChangesLost);
    assert_eq!(t.read(ReadSpec::default(), Seq(2)).err().unwrap().kind, ErrorKind::SnapshotTooOld);
    assert_eq!(values(&t, Seq(3)).await, ["a=3"]);
}

#[tokio::test]
async fn pins_keep_their_own_states_and_nothing_between_them() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    for value in ["1", "2", "3", "4", "5"] {
        write(&t, set_at("a", "all", Some(5), value)).await;
    }
    t.flush().await.unwrap();
    t.set_pins(&[Seq(2), Seq(4)]);
    t.compact().await.unwrap();
    for (at, value) in [(2, "a=2"), (4, "a=4"), (5, "a=5")] {
        assert_eq!(values(&t, Seq(at)).await, [value]);
    }
    assert_eq!(t.read(ReadSpec::default(), Seq(3)).err().unwrap().kind, ErrorKind::SnapshotTooOld);
    assert_eq!(t.changes(Seq(3), Seq::MAX, common::key::KeyRange::ALL).err().unwrap().kind, ErrorKind::ChangesLost);
    assert_eq!(changes(&t, Seq(2), Seq::MAX).await.len(), 1);
    let t = world.start().await.1;
    assert!(t.is_readable(Seq(2)) && !t.is_readable(Seq(3)), "the manifest says it too");
    t.set_pins(&[Seq(2), Seq(4)]);
    world.clock.advance(Duration::from_secs(7 * 86_400 + 1));
    t.compact().await.unwrap();
    assert_eq!(t.floor(), Seq(5));
    assert!(!t.is_readable(Seq(4)), "nobody is waited for longer than the change retention");
}

#[tokio::test]
async fn a_clock_that_runs_ahead_of_the_master_removes_nothing_early() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    write(&t, set_at("a", "young", None, "1")).await;
    t.flush().await.unwrap();
    engine.set_master_time(common::time::Clock::now(world.clock.as_ref()));
    world.clock.advance(Duration::from_secs(10_000));
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 1);
    engine.set_master_time(common::time::Clock::now(world.clock.as_ref()));
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 0);
}

#[tokio::test]
async fn an_unpinned_snapshot_stays_readable_for_its_retention() {
    let mut world = World::new();
    world.tune = |config| config.snapshot_retention = Duration::from_secs(60);
    let (_, t) = world.start().await;
    write(&t, set_at("a", "two", Some(5), "1")).await;
    world.clock.advance(Duration::from_secs(5));
    write(&t, set_at("a", "two", Some(5), "2")).await;
    t.flush().await.unwrap();
    world.clock.advance(Duration::from_secs(30));
    t.compact().await.unwrap();
    assert_eq!(values(&t, Seq(1)).await, ["a=1"]);
    world.clock.advance(Duration::from_secs(60));
    t.compact().await.unwrap();
    assert_eq!(t.read(ReadSpec::default(), Seq(1)).err().unwrap().kind, ErrorKind::SnapshotTooOld);
}

#[tokio::test]
async fn a_condemned_cell_is_hidden_at_once_and_removed_ten_minutes_later() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    write(&t, set_at("a", "young", None, "1")).await;
    t.flush().await.unwrap();
    world.clock.advance(Duration::from_secs(11));
    assert!(values(&t, Seq::MAX).await.is_empty());
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 1);
    world.clock.advance(Duration::from_secs(600));
    t.compact().await.unwrap();
    assert_eq!(t.stats().sstables, 0);
}

/// The one open case of deletes and GC rules: either answer is right, and compaction settles it.
#[tokio::test]
async fn a_partial_delete_may_show_a_condemned_version_until_compaction() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    for at in [1, 2, 3] {
        write(&t, set_at("a", "two", Some(at), &at.to_string())).await;
    }
    let timestamps = common::time::TimeRange { start: common::time::Micros(2), end: common::time::Micros::MAX };
    let partial = Mutation::DeleteColumn { family: family("two"), qualifier: bytes("q"), timestamps };
    t.flush().await.unwrap();
    write(&t, RowMutation { key: bytes("a"), mutations: vec![partial] }).await;
    assert_eq!(values(&t, Seq::MAX).await, ["a=1"]);
    t.inner_for_tests().compact_some_for_tests(0, 0).await.unwrap();
    assert!(values(&t, Seq::MAX).await.is_empty());
}

#[tokio::test]
async fn space_amplification_counts_what_a_full_compaction_would_drop() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    assert_eq!(t.stats().space_amplification(), 1.0);
    for round in 1..=3 {
        let rows = (0..400).map(|i| set_at(&format!("row{i:04}"), "two", Some(7), &format!("{round}{i}"))).collect();
        t.write(rows, None).await.unwrap();
        t.flush().await.unwrap();
        let (stats, metrics) = (t.stats(), engine.metrics());
        let factor = stats.space_amplification();
        assert!((factor - f64::from(round)).abs() < 0.2, "{factor} after {round} rounds");
        assert_eq!((metrics.stored_bytes, metrics.kept_bytes), (stats.stored_bytes, stats.kept_bytes));
        assert_eq!(metrics.space_amplification(), factor);
    }
    let (engine, t) = world.start().await;
    assert!((engine.metrics().space_amplification() - 3.0).abs() < 0.2, "a new owner knows it too");
    t.compact().await.unwrap();
    assert!((t.stats().space_amplification() - 1.0).abs() < 0.01, "{:?}", t.stats());
    assert!((engine.metrics().space_amplification() - 1.0).abs() < 0.01);
    let rows = (0..400).map(|i| delete_row(&format!("row{i:04}"))).collect();
    t.write(rows, None).await.unwrap();
    t.flush().await.unwrap();
    assert!(t.stats().space_amplification() > 10.0, "nothing of it is wanted any more: {:?}", t.stats());
    t.compact().await.unwrap();
    assert_eq!((t.stats().stored_bytes, t.stats().space_amplification()), (0, 1.0));
}

/// Waits for what happens in the background.
async fn until(what: &str, is: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn sstables_that_another_owner_has_left_are_compacted_without_a_flush() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    for i in 0..30 {
        write(&t, set(&format!("k{i:02}"), "1")).await;
        t.flush().await.unwrap();
    }
    engine.close_tablet(t.id()).await.unwrap();
    world.tune = |config| config.background = true;
    let (_engine, t) = world.start().await;
    until("no compaction", || t.stats().sstables < 20).await;
    assert_eq!(values(&t, Seq::MAX).await.len(), 30);
}

#[tokio::test]
async fn a_tablet_that_is_behind_is_compacted_before_it_is_given_away() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    for i in 0..9 {
        write(&t, set(&format!("k{i:02}"), "1")).await;
        t.flush().await.unwrap();
    }
    t.relieve(Duration::from_secs(60)).await.unwrap();
    assert_eq!(t.stats().sstables, 9, "nobody waits for these");
    for i in 9..20 {
        write(&t, set(&format!("k{i:02}"), "1")).await;
        t.flush().await.unwrap();
    }
    t.relieve(Duration::from_secs(60)).await.unwrap();
    assert!(t.stats().sstables < 10, "{:?}", t.stats());
}

#[tokio::test]
async fn closing_does_not_wait_for_a_compaction() {
    let mut world = World::new();
    world.tune = |config| (config.compaction.bytes_per_second, config.compaction.burst_bytes) = (1, 1);
    let (engine, t) = world.start().await;
    for _ in 0..2 {
        t.write((0..600).map(|i| set(&format!("k{i:03}"), "1")).collect(), None).await.unwrap();
        t.flush().await.unwrap();
    }
    let compacting = t.compact();
    tokio::pin!(compacting);
    for _ in 0..20 {
        assert!(futures::poll!(compacting.as_mut()).is_pending(), "at a byte a second it takes hours");
        tokio::task::yield_now().await;
    }
    let closing = tokio::time::timeout(Duration::from_secs(60), engine.close_tablet(t.id()));
    let (compacted, closed) = tokio::join!(compacting, closing);
    closed.unwrap().unwrap();
    assert_eq!(compacted.unwrap_err().kind, ErrorKind::Unavailable);
    let (_, t) = world.start().await;
    assert_eq!(values(&t, Seq::MAX).await.len(), 600);
}
