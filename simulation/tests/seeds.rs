//! Seeds, each in a process of its own.
//!
//! `STELE_SIM_SEED=17 cargo test -p simulation` runs one again, `STELE_SIM_SEEDS=5000` more than the usual, beginning at
//! `STELE_SIM_FROM`. With `STELE_SIM_LOG=info` one seed also says what it does.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seeds of a usual run.
const SEEDS: u64 = 200;
/// Seeds that are run twice.
const TWICE: u64 = 8;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a whole number")))
}

fn run(seed: u64, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulation")).arg(seed.to_string()).args(options).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs seeds on all processors; what failed, by seed, and the longest time that one took.
fn run_all(seeds: std::ops::Range<u64>, options: &[&str]) -> (BTreeMap<u64, String>, Duration) {
    let (next, failed, longest) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::new()), Mutex::new(Duration::ZERO));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let begun = Instant::now();
                    let output = run(seed, options);
                    let mut longest = longest.lock().unwrap();
                    *longest = longest.max(begun.elapsed());
                    if !output.status.success() {
                        failed.lock().unwrap().insert(seed, text(&output));
                    }
                }
            });
        }
    });
    (failed.into_inner().unwrap(), longest.into_inner().unwrap())
}

#[test]
fn nothing_is_lost_whatever_the_seed() {
    let from = variable("STELE_SIM_FROM").unwrap_or(0);
    let seeds = match variable("STELE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => from..from + variable("STELE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let begun = Instant::now();
    let (failed, longest) = run_all(seeds.clone(), &[]);
    println!("{} seeds in {:?}, the longest in {longest:?}", seeds.end - seeds.start, begun.elapsed());
    for (seed, text) in &failed {
        println!("STELE_SIM_SEED={seed} gives this again:\n{text}");
    }
    assert!(failed.is_empty(), "seeds that failed: {:?}", failed.keys());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = variable("STELE_SIM_SEED").unwrap_or(1_000_000);
    let mut runs = Vec::new();
    let count = if variable("STELE_SIM_SEED").is_some() { 1 } else { TWICE };
    for seed in first..first + count {
        let (once, again) = (run(seed, &[]), run(seed, &[]));
        assert_eq!(text(&once), text(&again), "seed {seed}");
        let verdict = String::from_utf8_lossy(&once.stdout).into_owned();
        assert!(verdict.starts_with(&format!("seed {seed} right hash ")), "{}", text(&once));
        runs.push(verdict);
    }
    runs.dedup_by_key(|verdict| verdict.split("hash ").nth(1).map(|rest| rest[..16].to_owned()));
    assert_eq!(runs.len() as u64, count, "other seeds give other runs");
}

/// That nothing is found wrong says something only if something can be.
#[test]
fn a_store_that_forgets_is_found_out() {
    let (failed, _) = run_all(0..20, &["--forgetful"]);
    let found = |what: &str| failed.values().any(|text| text.contains(what));
    assert!(found("was acknowledged"), "{failed:?}");
}
