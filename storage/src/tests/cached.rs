//! What readers keep of what they read: never damage, and what was just written.

use super::harness::{World, bytes, delete_row, family, set, set_at, values, write};
use crate::format::SstableName;
use crate::{DiskCacheConfig, Engine, Tablet};
use common::ErrorKind;
use common::ids::{Epoch, Seq};
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, RowMutation};
use common::store::{Faults, FaultyStore};
use futures::TryStreamExt;
use proptest::prelude::*;
use std::sync::Arc;

const ROWS: usize = 60;

fn key(n: usize) -> String {
    format!("key{n:03}")
}

async fn value(t: &Tablet, n: usize) -> common::Result<Option<String>> {
    let spec = ReadSpec { ranges: vec![KeyRange::single(key(n).as_bytes())], ..ReadSpec::default() };
    let rows: Vec<_> = t.read(spec, Seq::MAX)?.try_concat().await?;
    Ok(rows.first().map(|row| String::from_utf8(row.cells[0].value.to_vec()).unwrap()))
}

/// A server whose tablet has three SSTables of several blocks, and a store that can be made to flip bits.
async fn prepared(faults: Faults, seed: u64) -> (World, Arc<FaultyStore>) {
    let mut world = World::new();
    let store = FaultyStore::new(world.store.clone(), faults, seed);
    store.enable(false);
    world.store = store.clone();
    let (engine, t) = world.start().await;
    for n in 0..ROWS {
        write(&t, set(&key(n), &format!("{n:050}"))).await;
        if n % 25 == 24 {
            t.flush().await.unwrap();
        }
    }
    t.flush().await.unwrap();
    engine.close_tablet(t.id()).await.unwrap();
    (world, store)
}

/// A life that begins with empty caches.
async fn reopened(world: &mut World, cache_bytes: u64, disk: bool) -> (Arc<Engine>, Tablet) {
    let folder = world.dir.path().join("cache");
    let mut config = world.config();
    config.cache_bytes = cache_bytes;
    config.disk_cache = disk.then_some(DiskCacheConfig { folder, bytes: DiskCacheConfig::MIN_BYTES });
    let engine = Engine::open(config).await.unwrap();
    let t = engine.open_tablet(world.opening()).await.unwrap();
    (engine, t)
}

async fn all_is_right(t: &Tablet) {
    for n in 0..ROWS {
        assert_eq!(value(t, n).await.unwrap(), Some(format!("{n:050}")));
    }
    assert_eq!(values(t, Seq::MAX).await.len(), ROWS);
}

/// Reads rows of SSTables from a store that flips bits of some reads, then from the same store when it no longer does.
async fn flips_do_not_stay(seed: u64, chance: f64, cache_bytes: u64, disk: bool) {
    let (mut world, store) = prepared(Faults { flipped_bit: chance, short_read: chance / 4.0, ..Faults::default() }, seed).await;
    let (engine, t) = reopened(&mut world, cache_bytes, disk).await;
    store.enable(true);
    for n in (0..ROWS * 4).map(|n| n * 7 % ROWS) {
        match value(&t, n).await {
            Ok(found) => assert_eq!(found, Some(format!("{n:050}"))),
            Err(e) => assert!(matches!(e.kind, ErrorKind::Corrupt | ErrorKind::Unavailable), "{e}"),
        }
    }
    store.enable(false);
    all_is_right(&t).await;
    if let Some(disk) = engine.reader_for_tests().cache.disk() {
        disk.settle_for_tests().await;
        all_is_right(&t).await;
        assert_eq!(engine.metrics().disk_cache_failures, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_a_store_flipped_once_does_not_stay(seed in any::<u64>(), chance in 0.01..0.6f64, small in any::<bool>(), disk in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(flips_do_not_stay(seed, chance, if small { 1 << 10 } else { 1 << 20 }, disk));
    }
}

#[tokio::test]
async fn what_memory_has_no_room_for_is_read_from_the_disk() {
    let (mut world, _) = prepared(Faults::default(), 0).await;
    let (engine, t) = reopened(&mut world, 0, true).await;
    all_is_right(&t).await;
    let context = engine.reader_for_tests();
    let disk = context.cache.disk().unwrap();
    disk.settle_for_tests().await;
    let before = engine.metrics();
    all_is_right(&t).await;
    let after = engine.metrics();
    assert_eq!(after.store_gets, before.store_gets);
    assert_eq!(after.disk_cache_misses, before.disk_cache_misses);
    assert!(after.disk_cache_hits > before.disk_cache_hits && after.disk_cache_bytes_read > before.disk_cache_bytes_read);
}

#[tokio::test]
async fn what_the_disk_has_damaged_is_read_from_the_store() {
    let (mut world, _) = prepared(Faults::default(), 0).await;
    let (engine, t) = reopened(&mut world, 0, true).await;
    all_is_right(&t).await;
    let context = engine.reader_for_tests();
    let disk = context.cache.disk().unwrap();
    let name = SstableName { home: t.id(), epoch: Epoch(1), number: 1 };
    let sound = disk.find_for_tests(name, 0).await.unwrap();
    for byte in 0..sound.len() {
        let mut damaged = sound.to_vec();
        damaged[byte] ^= 0x10;
        disk.insert(name, 0, damaged.into());
        assert_eq!(value(&t, 0).await.unwrap(), Some(format!("{:050}", 0)));
        assert_eq!(disk.find_for_tests(name, 0).await.unwrap(), sound);
    }
    assert_eq!(engine.metrics().disk_cache_failures, sound.len() as u64);
}

#[tokio::test]
async fn a_disk_that_fails_fails_no_read() {
    let (mut world, _) = prepared(Faults::default(), 0).await;
    let (engine, t) = reopened(&mut world, 0, true).await;
    all_is_right(&t).await;
    let context = engine.reader_for_tests();
    context.cache.disk().unwrap().settle_for_tests().await;
    for file in std::fs::read_dir(world.dir.path().join("cache")).unwrap() {
        std::fs::OpenOptions::new().write(true).open(file.unwrap().path()).unwrap().set_len(0).unwrap();
    }
    let before = engine.metrics().store_gets;
    all_is_right(&t).await;
    all_is_right(&t).await;
    assert!(engine.metrics().store_gets > before);
    t.compact().await.unwrap();
    all_is_right(&t).await;
}

/// Rows with narrow and wide values, deletes and a row of many cells.
async fn write_mixed(t: &Tablet, from: usize) {
    for n in from..from + 40 {
        write(t, set(&key(n), &format!("{n:050}"))).await;
        write(t, set_at(&key(n), "two", None, &"wide ".repeat(60))).await;
    }
    let many = |n: usize| Mutation::Set {
        family: family("all"),
        qualifier: bytes(&format!("q{n:05}")),
        timestamp: None,
        value: bytes(&n.to_string()),
    };
    write(t, RowMutation { key: bytes("many"), mutations: (0..2000).map(many).collect() }).await;
    write(t, delete_row(&key(from + 3))).await;
    t.delete_range(KeyRange { start: bytes("key2"), end: Some(bytes("key3")) }, None).await.unwrap();
}

async fn read_mixed(t: &Tablet, rows: usize) {
    for n in 0..rows {
        assert_eq!(value(t, n).await.unwrap().is_some(), n % 40 != 3, "{n}");
    }
    assert_eq!(values(t, Seq::MAX).await.len(), rows - rows / 40 + 1);
}

#[tokio::test]
async fn what_was_just_flushed_is_read_without_the_store() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    write_mixed(&t, 0).await;
    t.flush().await.unwrap();
    write_mixed(&t, 40).await;
    t.flush().await.unwrap();
    let before = engine.metrics();
    read_mixed(&t, 80).await;
    assert_eq!(engine.metrics().store_gets, before.store_gets);
    // What was hot is so after a compaction.
    t.compact().await.unwrap();
    let before = engine.metrics();
    read_mixed(&t, 80).await;
    assert_eq!(engine.metrics().store_gets, before.store_gets);
    assert!(engine.metrics().cache_misses == 0 && engine.metrics().cache_hits > 100);
}

#[tokio::test]
async fn a_compaction_of_cold_rows_leaves_none_of_them_in_memory() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    write_mixed(&t, 0).await;
    t.flush().await.unwrap();
    write_mixed(&t, 40).await;
    t.flush().await.unwrap();
    engine.close_tablet(t.id()).await.unwrap();
    let (engine, t) = reopened(&mut world, 64 << 20, false).await;
    t.compact().await.unwrap();
    assert_eq!(engine.metrics().cache_bytes, 0);
    read_mixed(&t, 80).await;
    assert!(engine.metrics().cache_bytes > 0 && engine.metrics().cache_partition_bytes > 0);
}

#[tokio::test]
async fn what_is_read_row_by_row_is_kept_by_rows() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    for n in 0..ROWS {
        write(&t, set(&key(n), &format!("{n:050}"))).await;
    }
    write(&t, set_at(&key(7), "two", None, &"wide ".repeat(60))).await;
    t.flush().await.unwrap();
    assert_eq!(values(&t, Seq::MAX).await.len(), ROWS);
    let by_columns = engine.metrics().cache_bytes;
    for _ in 0..ROWS {
        all_is_right(&t).await;
    }
    let both = engine.metrics().cache_bytes;
    assert!(both > by_columns + (ROWS * 70) as u64 && both < 4 * by_columns, "{by_columns} bytes, then {both}");
    all_is_right(&t).await;
    assert_eq!(engine.metrics().cache_bytes, both);
    assert_eq!(value(&t, ROWS).await.unwrap(), None);
    // Both go with the cache's other rows.
    engine.close_tablet(t.id()).await.unwrap();
    let (engine, t) = reopened(&mut world, 1 << 10, false).await;
    for _ in 0..ROWS {
        all_is_right(&t).await;
        assert!(engine.metrics().cache_bytes <= 2 << 10);
    }
}
