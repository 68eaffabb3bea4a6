//! The engine on a store with faults: an answer is right, or it is an error.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use common::ids::{Epoch, Incarnation, Seq, ServerId, TabletId};
use common::key::KeyRange;
use common::row::{ReadSpec, Row, RowMutation};
use common::store::{Faults, FaultyStore, SharedStore};
use common::time::SystemClock;
use common::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::time::Duration;
use storage::{Engine, EngineConfig, Tablet, TabletOpen};
use support::{KEYS, Known, delete, set, table};

const STEPS: u64 = 150;
/// Times that a life is begun on a failing store before the faults are switched off for it.
const OPENINGS: usize = 10;

fn rounds() -> u64 {
    std::env::var("STELE_CHAOS_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4)
}

struct World {
    folder: tempfile::TempDir,
    store: Arc<FaultyStore>,
    life: u64,
    known: Known,
    context: String,
    /// Whether the log lies in the store too.
    object_log: bool,
}

impl World {
    fn new(faults: Faults, seed: u64, context: String, object_log: bool) -> Self {
        let inner: SharedStore = Arc::new(InMemory::new());
        let store = FaultyStore::new(inner, faults, seed);
        Self { folder: tempfile::tempdir().unwrap(), store, life: 0, known: Known::default(), context, object_log }
    }

    /// A new life; the last one may have ended in the middle of anything.
    async fn open(&mut self) -> (Arc<Engine>, Tablet) {
        for opening in 0.. {
            self.store.enable(opening < OPENINGS);
            self.life += 1;
            match self.try_open().await {
                Ok(open) => {
                    self.store.enable(true);
                    return open;
                }
                Err(e) => self.expect_fault(&e, opening < OPENINGS),
            }
        }
        unreachable!("without faults it opens")
    }

    async fn try_open(&self) -> Result<(Arc<Engine>, Tablet)> {
        let (store, clock, life) = (self.store.clone(), SystemClock::shared(), Incarnation(self.life));
        let mut config = if self.object_log {
            EngineConfig::with_object_log(ServerId(1), life, store, clock)
        } else {
            EngineConfig::new(ServerId(1), life, store, self.folder.path().join("disk"), clock)
        };
        config.background = false;
        config.block_bytes = 512;
        config.cache_bytes = 4 << 10;
        config.snapshot_retention = Duration::ZERO;
        let engine = Engine::open(config).await?;
        let open =
            TabletOpen { tablet: TabletId(1), range: KeyRange::ALL, epoch: Epoch(self.life), table: table(), pin: None, log_fence: None };
        let tablet = engine.open_tablet(open).await?;
        Ok((engine, tablet))
    }

    fn expect_fault(&self, e: &Error, faulty: bool) {
        let context = &self.context;
        assert!(faulty, "{context}: an error of a sound store: {e}");
        // A stale listing shows an old manifest: who then takes the tablet finds it taken.
        assert!(
            matches!(
                e.kind,
                ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Fenced | ErrorKind::NotFound | ErrorKind::ResourceExhausted
            ),
            "{context}: {e:?}"
        );
        if e.kind == ErrorKind::Corrupt {
            let named = ["object '", "log segment '"].iter().any(|name| e.message.contains(name));
            assert!(named, "{context}: an error that does not name its object: {e}");
        }
    }

    async fn step(&mut self, tablet: &Tablet, random: &mut StdRng, value: u64) -> Result<()> {
        match random.random_range(0..100) {
            0..40 => {
                let n = random.random_range(0..KEYS);
                self.write(tablet, set(n, value), &format!("{n} {value}")).await
            }
            40..50 => {
                let n = random.random_range(0..KEYS);
                self.write(tablet, delete(n), &format!("{n} 0")).await
            }
            50..62 => tablet.flush().await,
            62..68 => tablet.compact().await,
            _ => self.read(tablet, random.random_bool(0.5)).await,
        }
    }

    async fn write(&mut self, tablet: &Tablet, row: RowMutation, what: &str) -> Result<()> {
        self.known.hear(&format!("try {what}"));
        tablet.write(vec![row], None).await?;
        self.known.hear(&format!("done {what}"));
        Ok(())
    }

    async fn read(&mut self, tablet: &Tablet, reverse: bool) -> Result<()> {
        let spec = ReadSpec { reverse, ..ReadSpec::default() };
        let rows: Vec<Row> = tablet.read(spec, Seq::MAX)?.try_concat().await?;
        self.known.check(&rows, &self.context);
        Ok(())
    }
}

async fn play(faults: Faults, seed: u64, name: &str, object_log: bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new(faults, seed, format!("{name}, seed {seed}"), object_log);
    let (mut engine, mut tablet) = world.open().await;
    for step in 0..STEPS {
        if let Err(e) = world.step(&tablet, &mut random, seed % 1000 * 1_000_000 + step + 1).await {
            world.expect_fault(&e, true);
        }
        if random.random_bool(0.03) {
            drop((tablet, engine));
            (engine, tablet) = world.open().await;
        }
    }
    assert!(world.store.injected() > 0);
    // With the faults gone everything is as known, in this life or the next.
    world.store.enable(false);
    drop((tablet, engine));
    let (_engine, tablet) = world.open().await;
    world.store.enable(false);
    world.read(&tablet, false).await.unwrap();
}

#[tokio::test]
async fn no_fault_of_the_store_gives_a_wrong_answer() {
    let delay = Duration::from_millis(1);
    let kinds = [
        ("unreliable", Faults::unreliable(0.1, delay)),
        ("damaging", Faults::damaging(0.1)),
        ("stale", Faults { stale_list: 0.5, ..Faults::unreliable(0.03, delay) }),
        ("everything", Faults { short_read: 0.02, flipped_bit: 0.02, stale_list: 0.2, ..Faults::unreliable(0.05, delay) }),
    ];
    let seed: u64 = std::env::var("STELE_CHAOS_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(rand::random);
    println!("STELE_CHAOS_SEED={seed}");
    for round in 0..rounds() {
        for (name, faults) in kinds {
            play(faults, seed.wrapping_add(round), name, round % 2 == 1).await;
        }
    }
}
