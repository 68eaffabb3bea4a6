//! Tablets are moved, split and merged under writers, by hand and by the cluster itself, while processes are killed.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::Value;
use std::process::Command;
use support::writers::{Writers, check, create_table, line};
use support::{Finished, Http, Many, stele, wait_for};

fn admin(url: &str, args: &[&str]) -> Finished {
    let mut command: Command = stele();
    Finished::of(command.arg("admin").args(args).args(["--url", url]))
}

/// The tablets of the writers' table, in key order.
fn tablets(http: &Http) -> Vec<Value> {
    http.get("/v1/admin/tablets?table=raw.killed")["tablets"].as_array().unwrap().clone()
}

fn id(tablet: &Value) -> String {
    tablet["id"].to_string()
}

/// Waits until all tablets of the writers' table are open and without procedure; their owners.
fn settled(http: &Http) -> Vec<u64> {
    wait_for("all tablets to be open", || {
        let found = tablets(http);
        let settled = found.iter().all(|t| t["state"] == "open" && t["procedure"].is_null());
        settled.then(|| found.iter().map(|t| t["server"].as_u64().unwrap()).collect())
    })
}

#[test]
fn tablets_are_moved_split_merged_and_drained_under_writers() {
    let cluster = Many::start(1, 3);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    let writers = Writers::start(&url);
    writers.wait_for_more(400);
    let owners = settled(&http);
    let before = tablets(&http);

    let other = (1..=3).find(|server| *server != owners[0]).unwrap().to_string();
    admin(&url, &["move", &id(&before[0]), "--to", &other]).ok();
    assert_eq!(settled(&http)[0].to_string(), other);
    writers.wait_for_more(200);

    // In the middle of what is written, and once where the tablet's server chooses.
    admin(&url, &["split", &id(&before[0]), "--at", "[\"w0\", 400]"]).ok();
    admin(&url, &["split", &id(&before[1])]).ok();
    settled(&http);
    let parts = tablets(&http);
    assert_eq!(parts.len(), 4, "{parts:?}");
    writers.wait_for_more(400);

    admin(&url, &["merge", &id(&parts[1]), &id(&parts[2])]).ok();
    settled(&http);
    assert_eq!(tablets(&http).len(), 3);
    writers.wait_for_more(400);

    let busy = settled(&http)[0].to_string();
    admin(&url, &["drain", &busy]).ok();
    assert!(settled(&http).iter().all(|owner| owner.to_string() != busy));
    writers.wait_for_more(400);
    admin(&url, &["undrain", &busy]).ok();

    let acknowledged = writers.stop();
    check(&http, &acknowledged);
    let procedures = http.get("/v1/admin/procedures");
    assert!(procedures["procedures"].as_array().unwrap().iter().all(|p| p["step"] == "done"), "{procedures}");
    admin(&url, &["move", "4711"]).fails_with(&["tablet 4711 does not exist"]);
    admin(&url, &["split", &id(&tablets(&http)[0]), "--at", "[\"w5\"]"]).fails_with(&["does not lie inside"]);
}

#[test]
fn procedures_survive_the_loss_of_servers_and_of_the_leading_master() {
    let mut cluster = Many::start(3, 3);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    let writers = Writers::start(&url);
    writers.wait_for_more(200);
    let mut rounds = 0;
    for victim in [0, 1, 2] {
        let found = tablets(&http);
        for tablet in &found {
            admin(&url, &["split", &id(tablet), "--no-wait"]);
        }
        // One in the middle of the procedures' steps, then one in the middle of the failover.
        cluster.servers[victim].kill();
        writers.wait_for_more(100);
        cluster.masters[victim].kill();
        cluster.restart_server(victim);
        writers.wait_for_more(100);
        cluster.restart_master(victim);
        settled(&http);
        for tablet in &tablets(&http) {
            admin(&url, &["move", &id(tablet), "--no-wait"]);
        }
        writers.wait_for_more(100);
        let now = tablets(&http);
        for pair in now.chunks_exact(2) {
            admin(&url, &["merge", &id(&pair[0]), &id(&pair[1]), "--no-wait"]);
        }
        writers.wait_for_more(100);
        rounds += 1;
    }
    assert_eq!(rounds, 3);
    let acknowledged = writers.stop();
    settled(&http);
    check(&http, &acknowledged);
}

#[test]
fn a_range_of_rows_is_deleted_over_tablets_that_move() {
    let cluster = Many::start(1, 2);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    let lines: String = (0..400).map(line).collect();
    assert_eq!(http.ingest("raw.killed", &lines).unwrap().1["rows"], 400);
    settled(&http);
    admin(&url, &["split", &id(&tablets(&http)[0]), "--at", "[\"w0\", 200]"]).ok();
    settled(&http);
    for tablet in &tablets(&http) {
        admin(&url, &["move", &id(tablet), "--no-wait"]).ok();
    }
    let range = "/v1/tables/raw.killed/rows?writer=w0&from=100&to=300";
    let (status, answer) = http.request(reqwest::Method::DELETE, range, "application/json", None).unwrap();
    assert_eq!((status, answer.as_str()), (200, "{\"parts\":2}"));
    let left = http.sql("select n from raw.killed where writer = 'w0' order by n");
    let left: Vec<_> = left.iter().map(|row| row["n"].as_u64().unwrap()).collect();
    let expected: Vec<_> = (0..400u64).filter(|n| n.is_multiple_of(2) && !(100..300).contains(n)).collect();
    assert_eq!(left, expected);
    assert_eq!(http.number("select count(*) as n from raw.killed where writer = 'w1'"), 200);
    assert_eq!(http.delete("/v1/tables/raw.killed/rows"), 400, "a delete without a range");
}

#[test]
fn a_server_that_is_told_to_end_hands_its_tablets_over() {
    let mut cluster = Many::start(1, 2);
    let http = cluster.http();
    create_table(&http);
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(200);
    settled(&http);
    cluster.servers[0].end();
    // Nothing waits for a lease to run out: the other one has them all.
    let left: Vec<Value> = tablets(&http).into_iter().filter(|t| t["server"].is_null()).collect();
    assert!(left.is_empty(), "{left:?}");
    writers.wait_for_more(200);
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
}

#[test]
fn the_objects_of_ended_tablets_are_deleted() {
    let cluster = Many::start(1, 2);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    let writers = Writers::start(&url);
    writers.wait_for_more(400);
    let parent = tablets(&http)[0].clone();
    admin(&url, &["split", &id(&parent)]).ok();
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
    let children: Vec<_> = tablets(&http).iter().map(id).collect();
    let folder = |tablet: &str| cluster.bucket().join("tablets").join(tablet);
    assert!(!children.contains(&id(&parent)) && children.iter().all(|child| folder(child).exists()));
    assert_eq!(http.delete("/v1/tables/raw.killed"), 204);
    wait_for("the dropped table's objects to be deleted", || {
        let left = children.iter().chain([&id(&parent)]).filter(|t| has_files(&folder(t))).count();
        (left == 0).then_some(())
    });
}

fn has_files(folder: &std::path::Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|e| e.path().is_file() || has_files(&e.path()))
}
