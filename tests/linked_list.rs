//! Rings of rows are written by several clients while servers are killed and paused, masters are killed, and tablets are
//! moved, split and merged. In the end every row is there, as it was written last, and found by a scan once.
//!
//! `STELE_FAULT_SECONDS` asks for more than the one ring a writer that a normal run takes, `STELE_FAULT_SEED` for a run's faults.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::faults::{self, Faults};
use support::links::{self, Counts, DEPTH, WIDTH};
use support::{Http, Many, wait_for};

const TABLE: &str = "raw.links";
const WRITERS: u64 = 3;
/// Rows that a walk follows at once.
const STEPS: usize = 20;

/// What writers and walker share.
#[derive(Default)]
struct Progress {
    /// The time is over: writers finish the ring that they are at.
    over: AtomicBool,
    /// Nobody writes any more.
    written: AtomicBool,
    rings: AtomicU64,
    /// A row of each finished ring.
    finished: Mutex<Vec<String>>,
}

/// Writes whole rings until told that it is over, at least one.
fn writer(url: &str, client: u64, seed: u64, progress: &Progress) {
    let (http, mut random) = (Http::new(url), StdRng::seed_from_u64(seed));
    loop {
        let first = links::write_ring(&http, TABLE, client, &mut random);
        progress.rings.fetch_add(1, Ordering::SeqCst);
        progress.finished.lock().unwrap().push(first[0].clone());
        if progress.over.load(Ordering::SeqCst) {
            break;
        }
    }
}

/// Follows finished rings while others are written; how many rows it has seen.
fn walker(url: &str, seed: u64, progress: &Progress) -> usize {
    let (http, mut random, mut seen) = (Http::new(url), StdRng::seed_from_u64(seed), 0);
    while !progress.written.load(Ordering::SeqCst) {
        let finished = progress.finished.lock().unwrap().clone();
        match finished.len() {
            0 => std::thread::sleep(Duration::from_millis(100)),
            n => seen += links::walk(&http, TABLE, &finished[random.random_range(0..n)], STEPS),
        }
    }
    seen
}

#[test]
fn every_ring_is_whole_whatever_happens_to_the_cluster() {
    let (least, seed) = (faults::seconds(0), faults::seed());
    let mut cluster = Many::start(3, 3);
    links::create_table(&cluster.http(), TABLE);
    let progress = Arc::new(Progress::default());
    let begun = Instant::now();
    let threads: Vec<_> = (0..WRITERS)
        .map(|client| {
            let (url, progress) = (cluster.url(), progress.clone());
            std::thread::spawn(move || writer(&url, client, seed ^ (client + 1), &progress))
        })
        .collect();
    let walks = std::thread::spawn({
        let (url, progress) = (cluster.url(), progress.clone());
        move || walker(&url, seed, &progress)
    });
    let split_at = |random: &mut StdRng| format!("[\"{:02x}\"]", random.random::<u8>());
    let done = Faults { table: TABLE, split_at: &split_at }.befall(&mut cluster, seed, || {
        progress.over.store(begun.elapsed() >= least, Ordering::SeqCst);
        threads.iter().all(std::thread::JoinHandle::is_finished)
    });
    let ended: Vec<_> = threads.into_iter().map(std::thread::JoinHandle::join).collect();
    progress.written.store(true, Ordering::SeqCst);
    ended.into_iter().for_each(|writer| writer.unwrap());
    let walked = walks.join().unwrap();
    let rings = progress.rings.load(Ordering::SeqCst);
    println!("{rings} rings in {:.0} s, {walked} rows walked; {}", begun.elapsed().as_secs_f64(), done.join("; "));

    let http = cluster.http();
    let rows = wait_for("a scan of all rows", || http.try_sql(&format!("select * from {TABLE}")).ok());
    let written = rings * (WIDTH * DEPTH) as u64;
    assert_eq!(links::count(&rows), Counts { referenced: written, ..Counts::default() }, "of {written} rows\n{done:#?}");
}
