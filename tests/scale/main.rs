//! Many tablets: how a cluster creates, lists, serves and recovers them, and what they cost at rest.
//!
//! The usual run has some hundred tablets and checks that all is there and that rest costs no request a tablet. With
//! `STELE_SCALE_TABLETS=10000` (and `STELE_SCALE_IDLE=60`, seconds) it prints figures; `README.md` here has some.
//! `STELE_TEST_BINARY` names another `stele` to run than the one built with this test.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Http, Many, Usage};

/// Waiting for all tablets of a large cluster on a small machine.
const PATIENCE: Duration = Duration::from_secs(1_200);

fn number(name: &str, usually: u64) -> u64 {
    std::env::var(name).map_or(usually, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

fn key(n: u64) -> String {
    format!("{n:06}")
}

/// A table whose n-th tablet begins at key n; how long until it is created, and until it is all open.
fn create(http: &Http, tablets: u64) -> (Duration, Duration) {
    let split_at: Vec<_> = (1..tablets).map(|n| json!([key(n)])).collect();
    let spec = json!({"name": "raw.many", "key": [{"k": "string"}], "columns": {"v": "int64"}, "split_at": split_at});
    let began = Instant::now();
    let (status, answer) = http.post("/v1/tables", &spec).unwrap();
    assert_eq!(status, 201, "{answer}");
    let created = began.elapsed();
    wait_until("all tablets to open", || http.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    (created, began.elapsed())
}

/// All tablets, page by page.
fn listed(http: &Http, limit: u64) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("/v1/admin/tablets?table=raw.many&limit={limit}{after}"));
        all.extend(page["tablets"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

fn requests(http: &Http) -> u64 {
    http.get("/v1/admin/servers")["servers"].as_array().unwrap().iter().map(|s| s["requests"].as_u64().unwrap()).sum()
}

fn write(http: &Http, n: u64, value: u64) -> Duration {
    let began = Instant::now();
    let (status, answer) = http.ingest("raw.many", &json!({"k": key(n), "v": value}).to_string()).unwrap();
    assert!(status == 200 && answer["rows"] == 1, "{status} {answer}");
    began.elapsed()
}

fn read(http: &Http, n: u64) -> (u64, Duration) {
    let began = Instant::now();
    let row = http.get(&format!("/v1/tables/raw.many/row?k={}", key(n)));
    (row["v"].as_u64().unwrap(), began.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn many_tablets_are_created_listed_served_and_recovered() {
    let tablets = number("STELE_SCALE_TABLETS", 300);
    let idle = number("STELE_SCALE_IDLE", 3);
    let mut cluster = Many::start(3, 3);
    let http = cluster.http();
    let names = Usage::of(&cluster);

    let (created, open) = create(&http, tablets);
    println!("{tablets} tablets: created in {created:.2?}, all open after {open:.2?}");

    let began = Instant::now();
    let all = listed(&http, 1_000);
    println!("listed by REST in {:.2?}", began.elapsed());
    assert_eq!(all.len() as u64, tablets);
    let starts: Vec<_> = all.iter().map(|t| t["start"].as_str().unwrap()).collect();
    assert!(starts.is_sorted_by(|a, b| a < b), "in key order, none twice");
    assert_eq!(listed(&http, 7.max(tablets / 3)), all, "pages of any size");
    let began = Instant::now();
    let shown = support::Finished::of(support::stele().args(["admin", "tablets", "raw.many", "--url", &cluster.url()])).ok();
    println!("`stele admin tablets` in {:.2?}", began.elapsed());
    assert!(shown.lines().count() as u64 > tablets);
    let began = Instant::now();
    let map = http.get("/v1/cluster");
    println!("the whole tablet map from the gateway in {:.2?}, {} bytes", began.elapsed(), map.to_string().len());

    let some: Vec<u64> = (0..50).map(|i| i * tablets / 50).collect();
    let writes = some.iter().map(|n| write(&http, *n, *n + 1)).collect();
    let reads = some.iter().map(|n| read(&http, *n)).inspect(|(v, _)| assert!(*v > 0)).map(|(_, took)| took).collect();
    println!("write of one row {:.2?}, read of one row {:.2?} (medians of 50 tablets)", median(writes), median(reads));

    at_rest(&http, &names, tablets, idle);
    recover(&mut cluster, &http, &some);
}

/// What the processes use while nobody asks for anything.
fn at_rest(http: &Http, usage: &Usage, tablets: u64, seconds: u64) {
    // What was just written and opened settles first.
    wait_until("requests to cease", || {
        let before = requests(http);
        std::thread::sleep(Duration::from_secs(1));
        requests(http) == before
    });
    let (before, began, asked) = (usage.cpu(), Instant::now(), requests(http));
    std::thread::sleep(Duration::from_secs(seconds));
    let (passed, after, made) = (began.elapsed(), usage.cpu(), requests(http) - asked);
    println!("at rest for {passed:.1?}: {made} requests to the object store by all tablet servers");
    let mut sum = 0.0;
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let percent = 100.0 * (after.saturating_sub(*before)).as_secs_f64() / passed.as_secs_f64();
        sum += percent;
        println!("  {name}: {percent:.1} % of a core, {} MiB", usage.memory_mib(name));
    }
    println!("  all: {sum:.1} % of a core");
    assert!(made < tablets / 2 && made < 100, "{made} requests for {tablets} tablets at rest");
}

/// Kills a tablet server; its tablets go on at the others with all that was written.
fn recover(cluster: &mut Many, http: &Http, some: &[u64]) {
    let servers = http.get("/v1/admin/servers")["servers"].as_array().unwrap().clone();
    let of_first = servers.iter().find(|s| s["address"] == cluster.servers[0].address.as_str()).unwrap();
    let (id, lost) = (of_first["id"].as_u64().unwrap(), of_first["tablets"].as_u64().unwrap());
    assert!(lost > 0);
    let began = Instant::now();
    cluster.servers[0].kill();
    let elsewhere = |s: &Value| s["id"].as_u64() != Some(id) || s["tablets"] == 0;
    wait_until("the tablets of a killed server", || {
        let moved = http.get("/v1/admin/servers")["servers"].as_array().unwrap().iter().all(elsewhere);
        moved && http.try_get("/readyz").is_ok_and(|(status, _)| status == 200)
    });
    println!("a tablet server with {lost} tablets killed: all open elsewhere after {:.2?}", began.elapsed());
    for n in some {
        assert_eq!(read(http, *n).0, n + 1);
        write(http, *n, n + 2);
        assert_eq!(read(http, *n).0, n + 2);
    }
    let now = http.get("/v1/admin/servers")["servers"].as_array().unwrap().clone();
    let shares: Vec<_> = now.iter().filter(|s| s["live"] == true).map(|s| s["tablets"].as_u64().unwrap()).collect();
    println!("tablets of the servers that live: {shares:?}");
    assert!(shares.iter().max().unwrap() <= &(2 * shares.iter().min().unwrap()), "{shares:?} is not spread");
}
