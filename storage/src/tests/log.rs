//! The log under tablets: copies to its end, trims, and takeovers, on disk and in the object store.

use super::harness::{World, bytes, delete_row, set, values, write};
use crate::{LogConfig, ObjectLogSettings};
use common::ErrorKind;
use common::ids::{RunId, Seq};
use common::row::{Mutation, RowMutation};
use common::schema::TableKind;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

fn object_log(config: &mut crate::EngineConfig) {
    config.log = LogConfig::Object(ObjectLogSettings { gather: Duration::ZERO, ..ObjectLogSettings::default() });
}

fn small_segments(config: &mut crate::EngineConfig) {
    config.log_segment_bytes = 200;
}

const BOTH: [fn(&mut crate::EngineConfig); 2] = [small_segments, object_log];

#[tokio::test]
async fn a_cold_tablet_is_copied_to_the_end_and_no_sstable_is_made() {
    for tune in BOTH {
        let mut world = World::new();
        world.tune = tune;
        let (engine, t) = world.start().await;
        for key in ["a", "b"] {
            write(&t, set(key, "1")).await;
        }
        write(&t, set("c", "3")).await;
        write(&t, delete_row("a")).await;
        let before = t.inner_for_tests().log_from();
        assert!(t.inner_for_tests().copy_to_tail().await.unwrap());
        assert!(t.inner_for_tests().log_from() > before);
        assert_eq!((t.stats().sstables, engine.metrics().log_copies), (0, 1));
        world.clock.advance(Duration::from_secs(61));
        engine.trim_needed_for_tests().await;
        assert!(engine.metrics().log_segments_trimmed > 0);
        write(&t, set("d", "4")).await;
        let (_, t) = world.start().await;
        assert_eq!(values(&t, Seq::MAX).await, ["b=1", "c=3", "d=4"]);
        assert_eq!(t.visible(), Seq(5));
    }
}

#[tokio::test]
async fn a_copy_counts_once_whether_or_not_what_it_copies_was_trimmed() {
    for tune in BOTH {
        let mut world = World::new();
        world.tune = tune;
        let (engine, t) = world.start().await;
        for i in 0..3 {
            write(&t, set("k", &i.to_string())).await;
        }
        let request = vec![set("k", "3")];
        let first = t.write(request.clone(), Some([7; 16])).await.unwrap();
        assert!(t.inner_for_tests().copy_to_tail().await.unwrap());
        write(&t, delete_row("k")).await;
        write(&t, set("l", "5")).await;
        assert!(t.inner_for_tests().copy_to_tail().await.unwrap());
        drop(engine);
        let (_, t) = world.start().await;
        assert_eq!((values(&t, Seq::MAX).await, t.visible()), (vec!["l=5".to_owned()], Seq(6)));
        assert_eq!(t.write(request, Some([7; 16])).await.unwrap(), first);
        assert_eq!(t.visible(), Seq(6), "a request that was copied is remembered");
    }
}

#[tokio::test]
async fn much_is_flushed_and_a_tablet_being_written_is_not_copied() {
    let mut world = World::new();
    world.tune = |config| config.log_copy_bytes = 1_000;
    let (_, t) = world.start().await;
    write(&t, set("a", &"x".repeat(2_000))).await;
    assert!(!t.inner_for_tests().copy_to_tail().await.unwrap());
    t.flush().await.unwrap();
    assert!(t.inner_for_tests().copy_to_tail().await.unwrap(), "nothing is left to copy");
}

#[tokio::test]
async fn staged_rows_are_copied_and_dropped_ones_are_not() {
    for tune in BOTH {
        let mut world = World::of(TableKind::Derived);
        world.tune = tune;
        let (engine, t) = world.start().await;
        t.stage(RunId(1), 0, vec![set("a", "1")]).await.unwrap();
        t.stage(RunId(2), 0, vec![set("b", "1")]).await.unwrap();
        t.drop_staged(RunId(2)).await.unwrap();
        t.stage(RunId(3), 0, vec![set("c", "1")]).await.unwrap();
        t.apply(&[(RunId(3), Seq(5))]).await.unwrap();
        assert!(!t.inner_for_tests().copy_to_tail().await.unwrap(), "an applied run is flushed first");
        t.flush().await.unwrap();
        assert!(t.inner_for_tests().copy_to_tail().await.unwrap());
        world.clock.advance(Duration::from_secs(61));
        engine.trim_needed_for_tests().await;
        let (_, t) = world.start().await;
        t.apply(&[(RunId(1), Seq(6)), (RunId(2), Seq(7))]).await.unwrap();
        assert_eq!(values(&t, Seq::MAX).await, ["a=1", "c=1"]);
    }
}

#[tokio::test]
async fn a_zombie_with_an_object_log_acknowledges_nothing_once_another_has_taken_over() {
    let mut world = World::new();
    world.tune = object_log;
    let (zombie, old) = world.start().await;
    write(&old, set("a", "1")).await;
    let (engine, new) = world.start().await;
    assert_eq!(old.write(vec![set("b", "2")], None).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(old.write(vec![set("c", "3")], None).await.unwrap_err().kind, ErrorKind::Fenced);
    write(&new, set("d", "4")).await;
    assert_eq!(values(&new, Seq::MAX).await, ["a=1", "d=4"]);
    // Its log goes, except the fence.
    assert_eq!(world.objects("log/1/1").await.len(), 3);
    engine.sweep_for_tests().await;
    assert_eq!(world.objects("log/1/1").await, [Path::from("log/1/1/00000000000000000003")]);
    drop(zombie);
    let (_, newest) = world.start().await;
    assert_eq!(values(&newest, Seq::MAX).await, ["a=1", "d=4"]);
}

#[tokio::test]
async fn a_tablet_that_was_closed_leaves_the_log_of_a_server_that_goes_on() {
    let mut world = World::of(TableKind::Derived);
    world.tune = object_log;
    let (alive, t) = world.start().await;
    let other = super::harness::opening_of(&world, 77);
    let staying = alive.open_tablet(other).await.unwrap();
    t.stage(RunId(1), 0, vec![set("a", "1")]).await.unwrap();
    alive.close_tablet(t.id()).await.unwrap();
    let (_, t) = world.start().await;
    t.apply(&[(RunId(1), Seq(5))]).await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["a=1"]);
    staying.stage(RunId(9), 0, vec![set("z", "1")]).await.unwrap();
}

#[tokio::test]
async fn a_closed_tablet_needs_no_more_of_its_log_than_the_end() {
    for tune in BOTH {
        let mut world = World::new();
        world.tune = tune;
        let (engine, t) = world.start().await;
        let id = Some([7; 16]);
        let first = t.write(vec![set("a", "1")], id).await.unwrap();
        for n in 0..20 {
            write(&t, set("b", &n.to_string())).await;
        }
        engine.close_tablet(t.id()).await.unwrap();
        engine.shutdown().await.unwrap();
        // All but the last two, of which the newest may be empty: what a damaged or slow start of the log must not matter for.
        let objects = world.objects("log/1/1").await;
        for object in objects.iter().rev().skip(2) {
            world.store.delete(object).await.unwrap();
        }
        let mut files: Vec<_> =
            std::fs::read_dir(world.log_dir().join("log/1/1")).into_iter().flatten().map(|f| f.unwrap().path()).collect();
        files.sort();
        for file in files.iter().rev().skip(2) {
            std::fs::remove_file(file).unwrap();
        }
        assert!(objects.len() + files.len() > 3);
        let (_, t) = world.start().await;
        assert_eq!(t.write(vec![set("a", "1")], id).await.unwrap(), first);
        assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=19"]);
    }
}

#[tokio::test]
async fn a_log_out_of_reach_is_an_error_that_says_so() {
    let mut world = World::new();
    let (_, t) = world.start().await;
    write(&t, set("a", "1")).await;
    world.tune = object_log;
    let engine = world.engine().await;
    let e = engine.open_tablet(world.opening()).await.unwrap_err();
    assert!(e.kind == ErrorKind::Unavailable && e.message.contains("server 1 incarnation 1"), "{e}");
    assert!(world.objects("log/1/1").await.is_empty(), "a log that is elsewhere is not fenced");
    // An engine that has the folder reads both kinds.
    world.tune = |_| {};
    let (_, t) = world.start().await;
    assert_eq!(values(&t, Seq::MAX).await, ["a=1"]);
}

/// Random writes, deletes, flushes, copies, trims and takeovers.
async fn live(seed: u64, tune: fn(&mut crate::EngineConfig)) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new();
    world.tune = tune;
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let (mut engine, mut t) = world.start().await;
    for step in 0..60 {
        match random.random_range(0..100) {
            0..60 => {
                let (key, value) = (format!("k{}", random.random_range(0..6)), format!("v{step}"));
                write(&t, set(&key, &value)).await;
                expected.insert(key, value);
            }
            60..70 => {
                let key = format!("k{}", random.random_range(0..6));
                write(&t, RowMutation { key: bytes(&key), mutations: vec![Mutation::DeleteRow] }).await;
                expected.remove(&key);
            }
            70..75 => t.flush().await.unwrap(),
            75..88 => assert!(t.inner_for_tests().copy_to_tail().await.unwrap()),
            88..94 => {
                world.clock.advance(Duration::from_secs(61));
                engine.trim_needed_for_tests().await;
            }
            94..96 => {
                engine.close_tablet(t.id()).await.unwrap();
                (engine, t) = world.start().await;
            }
            _ => {
                (engine, t) = world.start().await;
                engine.sweep_for_tests().await;
            }
        }
        let expected: Vec<_> = expected.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(values(&t, Seq::MAX).await, expected, "seed {seed}, step {step}");
    }
}

#[tokio::test]
async fn copies_trims_and_takeovers_at_random_lose_and_resurrect_nothing() {
    let rounds = std::env::var("STELE_LOG_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let from: u64 = std::env::var("STELE_LOG_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(rand::random);
    println!("STELE_LOG_SEED={from}");
    for seed in (0..rounds).map(|i| from.wrapping_add(i)) {
        for tune in BOTH {
            live(seed, tune).await;
        }
    }
}

#[tokio::test]
async fn a_log_that_was_fenced_by_the_master_is_read_below_its_position() {
    let mut world = World::new();
    world.tune = object_log;
    let (_, old) = world.start().await;
    write(&old, set("a", "1")).await;
    let log = crate::format::LogName { server: common::ids::ServerId(1), incarnation: common::ids::Incarnation(1) };
    let position = crate::fence_log(&world.store, log, 1).await.unwrap();
    let engine = world.engine().await;
    let mut opening = world.opening();
    opening.log_fence = Some(1);
    let e = engine.open_tablet(opening.clone()).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Corrupt, "a position below what the manifest needs is none: {e}");
    opening.log_fence = Some(position);
    let t = engine.open_tablet(opening).await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await, ["a=1"]);
}
