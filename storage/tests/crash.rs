//! A process that dies at any ordering step: what it acknowledged is there after, never half a row, never resurrected.
//!
//! Each round is one folder and several lives. A life is a child process (this test binary again, told by its
//! environment) that writes, writes on conditions, deletes rows and ranges, flushes and compacts at random, tells on its
//! standard output what it tries and what was acknowledged, and aborts at the n-th passage of one failpoint. After each
//! life the parent opens the folder and compares.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use common::conditional::{CellTest, CheckAndMutate, Predicate};
use common::ids::{Epoch, Incarnation, Seq, ServerId, TabletId};
use common::key::KeyRange;
use common::row::{ReadSpec, Row};
use common::store::DurableLocal;
use common::time::SystemClock;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use storage::{Engine, EngineConfig, FAILPOINTS, LogConfig, ObjectLogSettings, Tablet, TabletOpen};
use support::{KEYS, Known, delete, key, set, table};

const STEPS: usize = 400;
/// Failpoints that only one of the logs passes.
const DISK_LOG: &[&str] = &["log-append", "log-sync", "log-sync-done", "log-roll"];
const OBJECT_LOG: &[&str] = &["log-object-put", "log-object-put-done", "log-fence-put", "log-fence-put-done"];
/// Failpoints that each write passes.
const OFTEN: &[&str] = &["log-append", "log-sync", "log-sync-done", "log-object-put", "log-object-put-done"];
/// What a child is told: log, life, seed, folder.
const CHILD: &str = "STELE_CRASH_CHILD";

fn rounds() -> u64 {
    std::env::var("STELE_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

async fn open(folder: &Path, life: u64, object_log: bool) -> (Arc<Engine>, Tablet) {
    let store = Arc::new(DurableLocal::open(&folder.join("store")).unwrap());
    let clock = SystemClock::shared();
    let mut config = EngineConfig::new(ServerId(1), Incarnation(life), store, folder.join("disk"), clock);
    if object_log {
        config.log = LogConfig::Object(ObjectLogSettings { gather: Duration::from_millis(1), ..ObjectLogSettings::default() });
    }
    config.log_segments = 40;
    config.memtable_bytes = 64 << 10;
    config.log_segment_bytes = 16 << 10;
    config.log_bytes = 32 << 10;
    config.snapshot_retention = std::time::Duration::ZERO;
    let engine = Engine::open(config).await.unwrap();
    let open = TabletOpen { tablet: TabletId(1), range: KeyRange::ALL, epoch: Epoch(life), table: table(), pin: None, log_fence: None };
    let tablet = engine.open_tablet(open).await.unwrap();
    (engine, tablet)
}

/// Not a test by itself: the life of a child.
#[test]
fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let mut told = told.splitn(4, ' ');
    let object_log = told.next() == Some("object");
    let (life, seed) = (told.next().unwrap().parse().unwrap(), told.next().unwrap().parse().unwrap());
    let folder = std::path::PathBuf::from(told.next().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(live(&folder, life, object_log, StdRng::seed_from_u64(seed)));
    // A life that did not come to its failpoint ends as abruptly.
    say("end");
    std::process::abort();
}

/// Aborts at the n-th passage of a failpoint.
fn arm(object_log: bool, random: &mut StdRng) {
    let passed = |point: &&&str| !(if object_log { DISK_LOG } else { OBJECT_LOG }).contains(*point);
    let points: Vec<_> = FAILPOINTS.iter().filter(passed).collect();
    let point = points[random.random_range(0..points.len())];
    let most = match point {
        p if OFTEN.contains(p) => 200,
        p if ["manifest-put", "manifest-put-done", "sstable-put", "sstable-delete"].contains(p) => 12,
        _ => 3,
    };
    let passages = AtomicU64::new(random.random_range(1..most));
    let crash = move || {
        if passages.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    };
    fail::cfg_callback(*point, crash).unwrap();
}

async fn live(folder: &Path, life: u64, object_log: bool, mut random: StdRng) {
    arm(object_log, &mut random);
    let (_engine, tablet) = open(folder, life, object_log).await;
    for step in 0..STEPS as u64 {
        match random.random_range(0..100) {
            0..55 => write(&tablet, &mut random, life * 1_000_000 + step * 10).await,
            55..65 => check_and_write(&tablet, &mut random, life * 1_000_000 + step * 10).await,
            65..70 => delete_range(&tablet, &mut random).await,
            70..88 => {
                let n = random.random_range(0..KEYS);
                say(&format!("try {n} 0"));
                tablet.write(vec![delete(n)], None).await.unwrap();
                say(&format!("done {n} 0"));
            }
            88..94 => tablet.flush().await.unwrap(),
            94..97 => ingest(&tablet, &mut random, life * 1_000_000 + step * 10).await,
            _ => tablet.compact().await.unwrap(),
        }
    }
}

async fn write(tablet: &Tablet, random: &mut StdRng, value: u64) {
    let rows: BTreeMap<u64, u64> = (0..random.random_range(1..6)).map(|i| (random.random_range(0..KEYS), value + i)).collect();
    rows.iter().for_each(|(n, v)| say(&format!("try {n} {v}")));
    tablet.write(rows.iter().map(|(n, v)| set(*n, *v)).collect(), None).await.unwrap();
    rows.iter().for_each(|(n, v)| say(&format!("done {n} {v}")));
}

/// Some rows at once, as SSTables.
async fn ingest(tablet: &Tablet, random: &mut StdRng, value: u64) {
    let rows: BTreeMap<u64, u64> = (0..random.random_range(1..8)).map(|i| (random.random_range(0..KEYS), value + i)).collect();
    let mut ingest = tablet.ingest(None).await.unwrap();
    ingest.add(rows.iter().map(|(n, v)| set(*n, *v)).collect()).await.unwrap();
    rows.iter().for_each(|(n, v)| say(&format!("try {n} {v}")));
    ingest.commit().await.unwrap();
    rows.iter().for_each(|(n, v)| say(&format!("done {n} {v}")));
}

/// One value if the row is there, another if it is not.
async fn check_and_write(tablet: &Tablet, random: &mut StdRng, value: u64) {
    let n = random.random_range(0..KEYS);
    let (then, otherwise) = (set(n, value).mutations, set(n, value + 1).mutations);
    (value..value + 2).for_each(|v| say(&format!("try {n} {v}")));
    let request = CheckAndMutate { key: key(n), predicate: Predicate::Cell(CellTest::exists()), then, otherwise };
    let checked = tablet.check_and_mutate(request, None).await.unwrap();
    say(&format!("done {n} {}", value + u64::from(!checked.matched)));
}

/// Of a few neighbouring keys.
async fn delete_range(tablet: &Tablet, random: &mut StdRng) {
    let from = random.random_range(0..KEYS);
    let to = (from + random.random_range(1..8)).min(KEYS);
    (from..to).for_each(|n| say(&format!("try {n} 0")));
    tablet.delete_range(KeyRange::new(key(from), Some(key(to))), None).await.unwrap();
    (from..to).for_each(|n| say(&format!("done {n} 0")));
}

/// Unbuffered: what was said before an abort is read.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
fn a_killed_process_loses_nothing_acknowledged_and_resurrects_nothing() {
    if std::env::var(CHILD).is_ok() {
        return;
    }
    let seed = std::env::var("STELE_CRASH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(rand::random);
    println!("STELE_CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut crashes = 0;
    for round in 0..rounds() {
        let folder = tempfile::tempdir().unwrap();
        let mut known = Known::default();
        let object_log = round % 2 == 1;
        for life in 1..=4u64 {
            let context = format!("seed {seed}, round {round}, life {life}");
            crashes += u64::from(run_child(folder.path(), 2 * life, object_log, random.random(), &mut known));
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (engine, tablet) = open(folder.path(), 2 * life + 1, object_log).await;
                let rows: Vec<Row> = tablet.read(ReadSpec::default(), Seq::MAX).unwrap().try_concat().await.unwrap();
                known.check(&rows, &context);
                engine.shutdown().await.unwrap();
            });
        }
    }
    println!("{crashes} crashes in {} lives", 4 * rounds());
    assert!(crashes > rounds(), "failpoints are passed");
}

/// Whether it came to its failpoint.
fn run_child(folder: &Path, life: u64, object_log: bool, seed: u64, known: &mut Known) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{} {life} {seed} {}", if object_log { "object" } else { "disk" }, folder.display()))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "the child failed by itself: {errors}");
    let said: Vec<_> = text.lines().filter_map(|line| line.split_once('@')).map(|(_, line)| line).collect();
    said.iter().filter(|line| **line != "end").for_each(|line| known.hear(line));
    said.last() != Some(&"end")
}
