//! Speed of one tablet: durable batched writes, reads of rows, of missing rows and of short ranges, increments.
//!
//! `cargo run --release -p storage --example tablet_speed -- [rows] [threads]`, in a folder that is removed after.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bytes::Bytes;
use common::conditional::ReadModifyWrite;
use common::ids::{Epoch, FamilyId, Incarnation, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, ReadSpec, RowMutation};
use common::schema::{Table, TableKind, TableSpec};
use common::store::DurableLocal;
use common::time::SystemClock;
use futures::TryStreamExt;
use futures::future::{BoxFuture, join_all};
use std::sync::Arc;
use std::time::Instant;
use storage::{Engine, EngineConfig, Tablet};

const BATCH: u64 = 500;

fn key(i: u64) -> Bytes {
    Bytes::from(format!("user{:06}event{:08}", i.wrapping_mul(2_654_435_761) % 50_000, i))
}

fn row(i: u64, family: FamilyId) -> RowMutation {
    let set = |c: u64| {
        let value = if c < 4 { Bytes::copy_from_slice(&(i ^ c).to_be_bytes()) } else { Bytes::from(format!("value {c} of row {i:024}")) };
        Mutation::Set { family, qualifier: Bytes::from(format!("attribute{c}")), timestamp: None, value }
    };
    RowMutation { key: key(i), mutations: (0..10).map(set).collect() }
}

/// Runs `work` in as many tasks as threads and prints what it does a second.
async fn timed(name: &str, count: u64, threads: u64, work: impl Fn(u64) -> BoxFuture<'static, ()>) {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..threads).map(|t| tokio::spawn(work(t))).collect();
    for done in join_all(tasks).await {
        done.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{name:>28}: {:>12.0} a second ({seconds:.2} s)", count as f64 / seconds);
}

async fn reads(tablet: &Tablet, rows: u64, threads: u64) {
    let count = rows.min(200_000);
    let step = move |t: u64, i: u64| (t * 7919 + i).wrapping_mul(0x9E37_79B9) % rows;
    timed("rows read", count * threads, threads, |t| {
        let tablet = tablet.clone();
        Box::pin(async move {
            let spec = ReadSpec::default();
            for i in 0..count {
                assert!(tablet.read_row(&key(step(t, i)), &spec, Seq::MAX).await.unwrap().is_some());
            }
        })
    })
    .await;
    timed("missing rows read", count * threads, threads, |t| {
        let tablet = tablet.clone();
        Box::pin(async move {
            let spec = ReadSpec::default();
            for i in 0..count {
                let mut key = key(step(t, i)).to_vec();
                key.push(b'x');
                assert!(tablet.read_row(&key, &spec, Seq::MAX).await.unwrap().is_none());
            }
        })
    })
    .await;
    let ranges = count / 20;
    timed("ranges of 100 rows read", ranges * threads, threads, |t| {
        let tablet = tablet.clone();
        Box::pin(async move {
            for i in 0..ranges {
                let range = KeyRange::new(key(step(t, i)), None);
                let spec = ReadSpec { row_limit: 100, ..ReadSpec::range(range) };
                let batches: Vec<_> = tablet.read(spec, Seq::MAX).unwrap().try_collect().await.unwrap();
                std::hint::black_box(batches);
            }
        })
    })
    .await;
}

async fn run(rows: u64, threads: u64) {
    let dir = std::env::temp_dir().join(format!("stele-tablet-speed-{}", std::process::id()));
    let store = Arc::new(DurableLocal::open(&dir.join("store")).unwrap());
    let mut config = EngineConfig::new(ServerId(1), Incarnation(1), store, dir.join("log"), SystemClock::shared());
    config.memtable_bytes = 8 << 30;
    config.log_bytes = 8 << 30;
    let spec: TableSpec =
        serde_json::from_value(serde_json::json!({"name": "speed.rows", "undeclared": "none", "families": {"f": {}}})).unwrap();
    let table = Arc::new(Table::create(TableId(1), TableKind::Raw, spec).unwrap());
    let family = table.family("f").unwrap().id;
    let engine = Engine::open(config).await.unwrap();
    let tablet = engine.open_tablet(opening(table)).await.unwrap();

    let batches: Vec<Vec<Vec<RowMutation>>> = (0..threads)
        .map(|t| {
            (t..rows / BATCH).step_by(threads as usize).map(|b| (b * BATCH..(b + 1) * BATCH).map(|i| row(i, family)).collect()).collect()
        })
        .collect();
    let batches = Arc::new(std::sync::Mutex::new(batches));
    timed("rows written durably", rows, threads, |_| {
        let (tablet, batches) = (tablet.clone(), batches.clone());
        Box::pin(async move {
            let mine = batches.lock().unwrap().pop().unwrap();
            for batch in mine {
                tablet.write(batch, None).await.unwrap();
            }
        })
    })
    .await;
    println!("from the memtable");
    reads(&tablet, rows, threads).await;
    timed("increments, 256 at once", 51_200, 256, |_| {
        let tablet = tablet.clone();
        Box::pin(async move {
            for _ in 0..200 {
                tablet.read_modify_write(ReadModifyWrite::increment("counter", family, "n".into(), 1), None).await.unwrap();
            }
        })
    })
    .await;
    timed("rows flushed", rows, 1, |_| {
        let tablet = tablet.clone();
        Box::pin(async move { tablet.flush().await.unwrap() })
    })
    .await;
    println!("from one SSTable");
    reads(&tablet, rows, threads).await;
    drop((tablet, engine));
    std::fs::remove_dir_all(&dir).unwrap();
}

fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let (rows, threads) = (args.next().unwrap_or(500_000), args.next().unwrap_or(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads as usize).enable_all().build().unwrap();
    runtime.block_on(run(rows / BATCH * BATCH, threads));
}

fn opening(table: Arc<Table>) -> storage::TabletOpen {
    storage::TabletOpen { tablet: TabletId(1), range: KeyRange::ALL, epoch: Epoch(1), table, pin: None, log_fence: None }
}
