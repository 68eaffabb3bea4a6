//! An object store that fails, or is slow, for a while: writes are refused, cached rows are read, nobody ends.
//!
//! `STELE_TEST_SLOW_STORE_SECONDS` is how long each of the two lasts; a minute shows what no time-out hides.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::json;
use std::time::{Duration, Instant};
use support::writers::{Writers, check, create_table, line};
use support::{Bucket, Http, Many, Ministack, Mood, Proxy, wait_for};

/// How long it lasts unless told otherwise: longer than a lease.
const SECONDS: u64 = 8;
/// Longer than any request waits for.
const LATENCY: Duration = Duration::from_secs(10);
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
        proxy.set(Mood::Fine);
        writers.wait_for_more(400);
    }
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
    for n in 0..2 {
        assert!(!cluster.server_log(n).contains("ends itself"), "{}", cluster.server_log(n));
    }
}

/// A write is refused, and told when to come again. One that came just before may wait for the store: it is given up.
fn refuses_writes(http: &Http) {
    let refused = || {
        let (status, headers, body) = http.post_lines("/v1/tables/raw.killed/ingest", &line(2_000_000), 3).ok()?;
        assert!(matches!(status, 200 | 429 | 503 | 504), "{status}: {body}");
        matches!(status, 429 | 503).then_some((headers, body))
    };
    let (headers, body) = wait_for("a refused write", refused);
    assert!(headers.contains_key("retry-after"), "no Retry-After: {body}");
}

/// Rows of both tablets by their keys.
fn reads(http: &Http) {
    for n in [0, ROWS / 2, ROWS - 1] {
        let n = 1_000_000 + n;
        let row = http.get(&format!("/v1/tables/raw.killed/row?writer=w{}&n={n}", n % 2));
        assert_eq!(row["a"], json!(format!("a{n}")), "{row}");
    }
}
