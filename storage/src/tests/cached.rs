//! What readers keep of what they read: never damage, and what was just written.

use super::harness::{World, set, values, write};
use crate::{EngineConfig, Tablet};
use common::ErrorKind;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::ReadSpec;
use common::store::{Faults, FaultyStore};
use futures::TryStreamExt;
use proptest::prelude::*;

const ROWS: usize = 60;

fn key(n: usize) -> String {
    format!("key{n:03}")
}

async fn value(t: &Tablet, n: usize) -> common::Result<Option<String>> {
    let spec = ReadSpec { ranges: vec![KeyRange::single(key(n).as_bytes())], ..ReadSpec::default() };
    let rows: Vec<_> = t.read(spec, Seq::MAX)?.try_concat().await?;
    Ok(rows.first().map(|row| String::from_utf8(row.cells[0].value.to_vec()).unwrap()))
}

/// Reads rows of SSTables from a store that flips bits of some reads, then from the same store when it no longer does.
async fn flips_do_not_stay(seed: u64, chance: f64, cache_bytes: u64, tune: fn(&mut EngineConfig)) {
    let mut world = World::new();
    world.tune = tune;
    let store = FaultyStore::new(world.store.clone(), Faults { flipped_bit: chance, short_read: chance / 4.0, ..Faults::default() }, seed);
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
    let mut config = world.config();
    config.cache_bytes = cache_bytes;
    let engine = crate::Engine::open(config).await.unwrap();
    let t = engine.open_tablet(world.opening()).await.unwrap();
    store.enable(true);
    for n in (0..ROWS * 4).map(|n| n * 7 % ROWS) {
        match value(&t, n).await {
            Ok(found) => assert_eq!(found, Some(format!("{n:050}"))),
            Err(e) => assert!(matches!(e.kind, ErrorKind::Corrupt | ErrorKind::Unavailable), "{e}"),
        }
    }
    store.enable(false);
    for n in 0..ROWS {
        assert_eq!(value(&t, n).await.unwrap(), Some(format!("{n:050}")), "seed {seed}");
    }
    assert_eq!(values(&t, Seq::MAX).await.len(), ROWS);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_a_store_flipped_once_does_not_stay_in_memory(seed in any::<u64>(), chance in 0.01..0.6f64, small in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(flips_do_not_stay(seed, chance, if small { 1 << 10 } else { 1 << 20 }, |_| {}));
    }
}
