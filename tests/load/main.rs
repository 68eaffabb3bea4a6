//! Ingest under load: events of about 400 bytes, 500 a request, through one gateway into three tablet servers that log to the store.
//!
//! The usual run is short, and checks that what was acknowledged is there, once. Events go over gRPC, as `MutateRows` of the Bigtable
//! API; with `STELE_LOAD_API=rest` over REST, as NDJSON. With `STELE_LOAD_SECONDS=300` it prints figures: a steady rate (`STELE_LOAD_RATE`, 25,000 events a second), a minute of
//! 100,000 a second, and how soon latencies are back. `STELE_TEST_BINARY` names a release build of `stele` to load;
//! `STELE_LOAD_S3=1` puts the store on an S3 server. At most `STELE_LOAD_OPEN` requests (400) are without an answer: further ones are not sent.
//! They go by `STELE_LOAD_CONNECTIONS` connections (4), each of which carries 200 gRPC requests at a time.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod client;
mod driver;
mod events;
mod figures;
mod puts;
#[path = "../support/mod.rs"]
mod support;

use client::Client;
use driver::{End, Load, Outcome, offer};
use events::{A_REQUEST, Api, Events, TABLE, first};
use puts::Puts;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Http, Many, Ministack, Usage, wait_for};

/// The bar of the 99th percentile, in figures.
const CALM: Duration = Duration::from_millis(250);

fn number(name: &str, usually: u64) -> u64 {
    std::env::var(name).map_or(usually, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn api() -> Api {
    match std::env::var("STELE_LOAD_API").as_deref() {
        Err(_) | Ok("grpc") => Api::Bigtable,
        Ok("rest") => Api::Rest,
        Ok(other) => panic!("STELE_LOAD_API={other} is neither grpc nor rest"),
    }
}

fn create_table(http: &Http) {
    wait_for("the table", || {
        let (status, answer) = http.post("/v1/tables", &events::table()).unwrap();
        assert!(status < 300 || status == 503, "{answer}");
        (status < 300).then_some(())
    });
    wait_for("all tablets to open", || http.try_get("/readyz").ok().filter(|(status, _)| *status == 200));
}

/// Every event of every request that was acknowledged is there, once.
fn check(http: &Http, outcomes: &[Outcome]) -> u64 {
    let query = format!("select (event_id - {}) / {A_REQUEST} as request, count(*) as n from {TABLE} group by 1", first(0));
    let rows = wait_for("the count of all events", || http.try_sql(&query).ok());
    let counts: HashMap<u64, u64> = rows.iter().map(|row| (row["request"].as_u64().unwrap(), row["n"].as_u64().unwrap())).collect();
    for outcome in outcomes.iter().filter(|o| o.end == End::Stored) {
        let found = counts.get(&outcome.request).copied().unwrap_or(0);
        assert_eq!(found, A_REQUEST, "events of the acknowledged request {}", outcome.request);
    }
    assert!(counts.values().all(|n| *n <= A_REQUEST), "a row is there twice");
    counts.values().sum()
}

/// What each process used in a phase, which has stored so many events.
fn cpu_of(usage: &Usage, before: &[(String, Duration)], seconds: f64, stored: u64) {
    for ((name, now), (_, then)) in usage.cpu().iter().zip(before) {
        let used = now.saturating_sub(*then).as_secs_f64();
        let (of_a_core, of_an_event) = (used / seconds * 100.0, used / stored.max(1) as f64 * 1e6);
        println!(
            "{name}: {used:.1} CPU s, {of_a_core:.0} % of a core, {of_an_event:.1} µs an event stored, {} MiB",
            usage.memory_mib(name)
        );
    }
}

/// Requests to the store by all tablet servers.
fn requests(http: &Http) -> u64 {
    http.get("/v1/admin/servers")["servers"].as_array().unwrap().iter().filter_map(|s| s["requests"].as_u64()).sum()
}

#[test]
fn nothing_acknowledged_is_lost_under_load() {
    let steady = Duration::from_secs(number("STELE_LOAD_SECONDS", 3));
    let measures = steady > Duration::from_secs(10);
    let (rate, spike_rate) = if measures { (number("STELE_LOAD_RATE", 25_000), 100_000) } else { (2_000, 20_000) };
    let (spike, after) = if measures { (60, 30) } else { (3, 2) };
    let s3 = (number("STELE_LOAD_S3", 0) == 1).then(|| Ministack::start("load").unwrap());
    let cluster = Many::with_memtables(None, s3.as_ref().map(|s3| s3.bucket("load")), 3, 3);
    let http = cluster.http();
    create_table(&http);
    let (api, mut usage) = (api(), Usage::of(&cluster));
    usage.add("load generator", std::process::id());
    s3.iter().for_each(|s3| usage.add("S3 server", s3.pid()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _within = runtime.enter();
    let (client, events) =
        (Arc::new(Client::new(api, &cluster.url(), number("STELE_LOAD_CONNECTIONS", 4) as usize)), Arc::new(Events::new(api, 1)));
    let (load, mut next, mut all) = (Load { client, events, open: number("STELE_LOAD_OPEN", 400) as usize }, 0, Vec::new());
    for (phase, rate, seconds) in [("steady", rate, steady.as_secs()), ("spike", spike_rate, spike), ("after", rate, after)] {
        let (before, lasting) = (usage.cpu(), Duration::from_secs(seconds));
        let outcomes = runtime.block_on(offer(&load, rate, lasting, &mut next));
        figures::print(phase, &outcomes, lasting);
        let stored = outcomes.iter().filter(|o| o.end == End::Stored).count() as u64 * A_REQUEST;
        cpu_of(&usage, &before, lasting.as_secs_f64(), stored);
        if phase == "after" {
            println!("after: p99 below {CALM:?} for good after {:?} s", figures::calm_after(&outcomes, lasting, CALM));
        }
        all.extend(outcomes);
    }
    assert!(all.iter().any(|o| o.end == End::Stored), "nothing was stored: {:?}", all.first());
    let failed: Vec<_> = all.iter().filter(|o| matches!(o.end, End::Failed(_))).take(3).collect();
    assert!(failed.is_empty(), "neither stored nor refused: {failed:?}");
    let stored = check(&http, &all);
    println!("{stored} events stored in all; requests of all kinds a MB of values: {:.2}", puts::per_mb(requests(&http), stored));
    if s3.is_none() {
        println!("in the folder: {}", Puts::of(&cluster).per_mb(stored));
    }
}
