//! Ingest under load: events of about 400 bytes, 500 a request, through one gateway into three tablet servers that log to the store.
//!
//! The usual run is short, and checks that what was acknowledged is there, once. With
//! `STELE_LOAD_SECONDS=300` it prints figures: a steady rate (`STELE_LOAD_RATE`, 25,000 events a second), a minute of
//! 100,000 a second, and how soon latencies are back. `STELE_TEST_BINARY` names a release build of `stele` to load;
//! `STELE_LOAD_S3=1` puts the store on an S3 server.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod driver;
mod events;
mod figures;
mod puts;
#[path = "../support/mod.rs"]
mod support;

use driver::{End, Outcome, offer};
use events::{A_REQUEST, Events, first};
use puts::Puts;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Http, Many, Ministack, Usage, wait_for};

const TABLE: &str = "raw.load";
/// The bar of the 99th percentile, in figures.
const CALM: Duration = Duration::from_millis(250);

fn number(name: &str, usually: u64) -> u64 {
    std::env::var(name).map_or(usually, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// A table with a tablet for each server.
fn create_table(http: &Http) {
    let columns = json!({
        "event_type": "string", "session": "string", "device": "string", "country": "string", "price": "float64", "quantity": "int64",
        "paid": "bool", "received_at": "timestamp", "message": "string", "payload": "json",
    });
    let key = json!([{ "user_id": "string" }, { "at": "timestamp" }, { "event_id": "int64" }]);
    let spec = json!({ "name": TABLE, "key": key, "columns": columns, "split_at": [["u33333"], ["u66666"]] });
    wait_for("the table", || {
        let (status, answer) = http.post("/v1/tables", &spec).unwrap();
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

fn cpu_of(usage: &Usage, before: &[(String, Duration)], seconds: f64) {
    for ((name, now), (_, then)) in usage.cpu().iter().zip(before) {
        let used = now.saturating_sub(*then).as_secs_f64();
        println!("{name}: {used:.1} CPU s, {:.0} % of a core, {} MiB", used / seconds * 100.0, usage.memory_mib(name));
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
    let url = format!("{}/v1/tables/{TABLE}/ingest", cluster.url());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (usage, events, mut next, mut all) = (Usage::of(&cluster), Arc::new(Events::new(1)), 0, Vec::new());
    for (phase, rate, seconds) in [("steady", rate, steady.as_secs()), ("spike", spike_rate, spike), ("after", rate, after)] {
        let (before, lasting) = (usage.cpu(), Duration::from_secs(seconds));
        let outcomes = runtime.block_on(offer(&url, &events, rate, lasting, &mut next));
        figures::print(phase, &outcomes, lasting);
        cpu_of(&usage, &before, lasting.as_secs_f64());
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
