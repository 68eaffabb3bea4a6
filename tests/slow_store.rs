//! An object store that fails, or is slow, for a while: writes are refused, cached rows are read, nobody ends or begins a new
//! life, and all of it goes on by itself afterwards.
//!
//! `STELE_TEST_SLOW_STORE_SECONDS` is how long each of the two lasts; a minute shows what no time-out hides.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::writers::{Writers, check, create_table, line};
use support::{Bucket, Http, Many, Ministack, Mood, Proxy, wait_for};

/// How long it lasts unless told otherwise: longer than a lease.
const SECONDS: u64 = 8;
/// Longer than any request waits for.
const LATENCY: Duration = Duration::from_secs(10);
/// Longer than a log's first attempt, and shorter than silence that is taken for none at all.
const SLUGGISH: Duration = Duration::from_millis(1500);
/// Rows that lie in memory and in cached blocks.
const ROWS: u64 = 200;

#[test]
fn a_store_that_fails_or_is_slow_for_a_while_stops_writes_and_nothing_else() {
    let Some(server) = Ministack::start("a_store_that_fails_or_is_slow_for_a_while_stops_writes_and_nothing_else") else { return };
    server.bucket("stele-slow");
    let proxy = Proxy::start(&server.endpoint());
    let mut cluster = Many::start_on(Bucket::s3(&proxy.endpoint(), "stele-slow"), 1, 2);
    let http = cluster.http();
    create_table(&http);
    let first: String = (0..ROWS).map(|n| line(1_000_000 + n)).collect();
    assert_eq!(http.ingest("raw.killed", &first).unwrap().1["rows"], json!(ROWS));
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    let lives = lives(&http);
    let seconds = std::env::var("STELE_TEST_SLOW_STORE_SECONDS").ok().map_or(SECONDS, |s| s.parse().unwrap());
    for mood in [Mood::Failing, Mood::Slow(LATENCY)] {
        proxy.set(mood);
        let until = Instant::now() + Duration::from_secs(seconds);
        refuses_writes(&http);
        while Instant::now() < until {
            reads(&http);
        }
        // A write may have waited all the while; another one is refused at once.
        refuses_writes(&http);
        cluster.assert_runs();
        assert_eq!(self::lives(&http), lives, "leases do not depend on the store");
        proxy.set(Mood::Fine);
        writers.wait_for_more(400);
    }
    // What is slow all the time, but answers, is written: slower, and not at all times.
    proxy.set(Mood::Slow(SLUGGISH));
    writers.wait_for_more(80);
    proxy.set(Mood::Fine);
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
    for n in 0..2 {
        assert!(!cluster.server_log(n).contains("ends itself"), "{}", cluster.server_log(n));
    }
}

/// Writes are refused, and told when to come again: lines as well as rows, though one that came just before may wait for the
/// store and is given up.
fn refuses_writes(http: &Http) {
    let rows = json!({ "rows": [{ "set": serde_json::from_str::<Value>(&line(2_000_001)).unwrap() }] }).to_string();
    for (path, kind, body) in [("ingest", "application/x-ndjson", line(2_000_000)), ("rows", "application/json", rows)] {
        let refused = || {
            let (status, headers, answer) = http.post_within(&format!("/v1/tables/raw.killed/{path}"), (kind, &body), 3).ok()?;
            assert!(matches!(status, 200 | 207 | 429 | 503 | 504), "{status}: {answer}");
            matches!(status, 429 | 503).then_some((headers, answer))
        };
        let (headers, answer) = wait_for("a refused write", refused);
        assert!(headers.contains_key("retry-after"), "no Retry-After: {answer}");
    }
}

/// The life of each tablet server.
fn lives(http: &Http) -> Vec<Value> {
    let servers = http.get("/v1/admin/servers");
    servers["servers"].as_array().unwrap().iter().map(|s| json!([s["id"], s["incarnation"], s["live"]])).collect()
}

/// Rows of both tablets by their keys.
fn reads(http: &Http) {
    for n in [0, ROWS / 2, ROWS - 1] {
        let n = 1_000_000 + n;
        let row = http.get(&format!("/v1/tables/raw.killed/row?writer=w{}&n={n}", n % 2));
        assert_eq!(row["a"], json!(format!("a{n}")), "{row}");
    }
}
