//! Snapshots, clones, backups and restores of tables, with real processes, while tablets move and masters are killed.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use support::writers::{Writers, check, create_table, line};
use support::{Finished, Http, Many, stele, wait_for};

const TABLE: &str = "raw.killed";

fn admin(url: &str, args: &[&str]) -> Finished {
    Finished::of(stele().arg("admin").args(args).args(["--url", url]))
}

/// Rows with these numbers, acknowledged.
fn ingest(http: &Http, table: &str, numbers: Range<u64>) {
    let lines: String = numbers.clone().map(line).collect();
    wait_for("an acknowledgement", || {
        let (status, answer) = http.ingest(table, &lines).ok()?;
        (status == 200 && answer["rows"] == json!(numbers.end - numbers.start)).then_some(())
    });
}

/// The numbers of a table's rows, all of which are whole.
fn numbers(http: &Http, table: &str) -> BTreeSet<u64> {
    let mut refused = String::new();
    let rows = wait_for("an answer", || {
        let answer = http.try_sql(&format!("select n, a, e from {table}"));
        // Only a server that is away is waited for.
        assert!(!refused.contains("is damaged") && !refused.contains("it says that"), "{refused}");
        answer.map_err(|e| refused = e).ok()
    });
    let whole = |row: &Value| row["a"] == json!(format!("a{}", row["n"])) && row["e"] == json!(format!("e{}", row["n"]));
    assert!(rows.iter().all(whole), "{table} has half a row");
    rows.iter().map(|row| row["n"].as_u64().unwrap()).collect()
}

#[track_caller]
fn assert_shows(http: &Http, table: &str, expected: Range<u64>) {
    assert_eq!(numbers(http, table), expected.collect::<BTreeSet<_>>(), "{table}");
}

/// Ids of a table's tablets, in key order.
fn tablets(http: &Http, table: &str) -> Vec<String> {
    let found = http.get(&format!("/v1/admin/tablets?table={table}"));
    found["tablets"].as_array().unwrap().iter().map(|t| t["id"].to_string()).collect()
}

fn snapshots(http: &Http) -> Vec<Value> {
    http.get("/v1/admin/snapshots")["snapshots"].as_array().unwrap().clone()
}

/// All SSTables of a bucket's tablets.
fn sstables(bucket: &Path) -> Vec<PathBuf> {
    let tablets = std::fs::read_dir(bucket.join("tablets")).unwrap();
    let folders = tablets.flatten().map(|tablet| tablet.path().join("sst")).filter(|folder| folder.is_dir());
    folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten().map(|f| f.path())).collect()
}

/// SSTables of these tablets, as they are named in a bucket.
fn of_tablets(bucket: &Path, tablets: &[String]) -> usize {
    let is_theirs = |path: &Path| tablets.iter().any(|tablet| path.starts_with(bucket.join("tablets").join(tablet)));
    sstables(bucket).iter().filter(|path| is_theirs(path)).count()
}

#[test]
fn clones_show_their_source_as_it_was_and_share_its_objects_until_nobody_needs_them() {
    let mut cluster = Many::start(1, 2);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    ingest(&http, TABLE, 0..200);
    admin(&url, &["snapshot", "create", TABLE, "--name", "first"]).ok();
    ingest(&http, TABLE, 200..400);
    let source = tablets(&http, TABLE);
    admin(&url, &["split", &source[0]]).ok();
    admin(&url, &["clone", &format!("{TABLE}@first"), "raw.first"]).ok();
    admin(&url, &["clone", TABLE, "raw.now"]).ok();
    assert_shows(&http, "raw.first", 0..200);
    assert_shows(&http, "raw.now", 0..400);
    assert_eq!(tablets(&http, "raw.now").len(), 3, "as many as its source had");
    // They go on apart.
    ingest(&http, "raw.first", 200..300);
    ingest(&http, TABLE, 400..500);
    assert_shows(&http, "raw.first", 0..300);
    assert_shows(&http, "raw.now", 0..400);
    // The source goes, and what the others need of it stays; nobody has it in a cache.
    let ended: Vec<_> = source.iter().cloned().chain(tablets(&http, TABLE)).collect();
    assert_eq!(http.delete(&format!("/v1/tables/{TABLE}")), 204);
    for n in 0..2 {
        cluster.servers[n].kill();
        cluster.restart_server(n);
    }
    assert_shows(&http, "raw.now", 0..400);
    assert_shows(&http, "raw.first", 0..300);
    admin(&url, &["clone", &format!("{TABLE}@first"), TABLE]).ok();
    assert_shows(&http, TABLE, 0..200);
    assert!(of_tablets(&cluster.bucket(), &ended) > 0);
    // The last who needs them goes.
    admin(&url, &["snapshot", "drop", &format!("{TABLE}@first")]).ok();
    assert!(snapshots(&http).is_empty());
    for table in ["raw.now", "raw.first", TABLE] {
        assert_eq!(http.delete(&format!("/v1/tables/{table}")), 204);
    }
    wait_for("the objects that nobody needs to be deleted", || (of_tablets(&cluster.bucket(), &ended) == 0).then_some(()));
    wait_for("the snapshot's manifests to be deleted", || (!has_files(&cluster.bucket().join("snapshots"))).then_some(()));
}

fn has_files(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|e| e.path().is_file() || has_files(&e.path()))
}

#[test]
fn a_backup_is_restored_in_another_cluster_and_a_damaged_one_is_not() {
    let cluster = Many::start(1, 2);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    ingest(&http, TABLE, 0..300);
    // The parts of a split tablet share SSTables: they are copied once.
    admin(&url, &["split", &tablets(&http, TABLE)[0], "--at", "[\"w0\", 100]"]).ok();
    let place = tempfile::tempdir().unwrap();
    let location = format!("file://{}/b", place.path().display());
    admin(&url, &["backup", TABLE, &location]).ok();
    admin(&url, &["backup", TABLE, &location]).fails_with(&["holds a backup already"]);
    ingest(&http, TABLE, 300..400);
    admin(&url, &["restore", &location, "raw.back"]).ok();
    assert_shows(&http, "raw.back", 0..300);
    assert!(snapshots(&http).is_empty());

    let other = Many::start(1, 1);
    let (there, there_url) = (other.http(), other.url());
    let done = admin(&there_url, &["restore", &location, TABLE, "--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&done).unwrap()["step"], "done");
    assert_shows(&there, TABLE, 0..300);
    ingest(&there, TABLE, 300..500);
    assert_shows(&there, TABLE, 0..500);
    assert_eq!(there.get(&format!("/v1/tables/{TABLE}"))["spec"]["key"], http.get(&format!("/v1/tables/{TABLE}"))["spec"]["key"]);

    // One changed bit of one object: nothing of the table appears, and the object is named.
    let damaged = files(&place.path().join("b")).into_iter().find(|path| path.parent().unwrap().ends_with("sst")).unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&damaged, &bytes).unwrap();
    let name = damaged.file_name().unwrap().to_str().unwrap();
    let before = sstables(&other.bucket()).len();
    admin(&there_url, &["restore", &location, "raw.damaged"]).fails_with(&[name, "is damaged"]);
    std::fs::remove_file(&damaged).unwrap();
    admin(&there_url, &["restore", &location, "raw.damaged"]).fails_with(&[name, "does not exist"]);
    let (status, _) = there.try_get("/v1/tables/raw.damaged").unwrap();
    assert_eq!(status, 404);
    wait_for("what was copied for it to be deleted", || (sstables(&other.bucket()).len() <= before).then_some(()));
    // Without its document it was never finished.
    std::fs::remove_file(place.path().join("b/backup.json")).unwrap();
    admin(&there_url, &["restore", &location, "raw.damaged"]).fails_with(&["no finished backup", &location]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Waits until no procedure is under way; all of them.
fn ended(http: &Http) -> Vec<Value> {
    wait_for("the end of all procedures", || {
        let (status, found) = http.try_get("/v1/admin/procedures").ok()?;
        let all = found["procedures"].as_array().filter(|_| status == 200)?.clone();
        all.iter().all(|p| !p["ended_at"].is_null()).then_some(all)
    })
}

#[test]
fn copies_go_on_when_masters_and_servers_are_killed_in_their_middle() {
    let mut cluster = Many::start(3, 3);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    ingest(&http, TABLE, 0..100);
    let place = tempfile::tempdir().unwrap();
    let writers = Writers::start(&url);
    writers.wait_for_more(200);
    for victim in [0, 1, 2] {
        let location = format!("file://{}/{victim}", place.path().display());
        let before = numbers(&http, TABLE);
        admin(&url, &["snapshot", "create", TABLE, "--name", &format!("s{victim}"), "--no-wait"]).ok();
        admin(&url, &["clone", TABLE, &format!("raw.clone{victim}"), "--no-wait"]).ok();
        admin(&url, &["backup", TABLE, &location, "--no-wait"]).ok();
        // Tablets are flushed for them just now; then one of the masters, which may lead, ends as well.
        cluster.servers[victim].kill();
        cluster.masters[victim].kill();
        cluster.restart_server(victim);
        cluster.restart_master(victim);
        writers.wait_for_more(100);
        let procedures = ended(&http);
        let failed: Vec<_> = procedures.iter().filter(|p| is_of_table(p) && !p["error"].is_null()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        admin(&url, &["restore", &location, &format!("raw.back{victim}"), "--no-wait"]).ok();
        cluster.masters[(victim + 1) % 3].kill();
        cluster.restart_master((victim + 1) % 3);
        let failed: Vec<_> = ended(&http).into_iter().filter(|p| is_of_table(p) && !p["error"].is_null()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        admin(&url, &["restore", &format!("{TABLE}@s{victim}"), &format!("raw.snap{victim}")]).ok();
        for copy in ["clone", "back", "snap"] {
            let table = format!("raw.{copy}{victim}");
            let found = numbers(&http, &table);
            let lost: Vec<_> = before.difference(&found).collect();
            assert!(lost.is_empty(), "{table} lacks {lost:?}, which could be read before it was begun");
        }
    }
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
    assert_eq!(snapshots(&http).len(), 3, "those without a name have gone: {:?}", snapshots(&http));
}

fn is_of_table(procedure: &Value) -> bool {
    let what = procedure["what"].as_str().unwrap();
    ["snapshot", "clone", "back up", "restore"].iter().any(|word| what.starts_with(word))
}

#[test]
fn a_schedule_keeps_so_many_snapshots_and_a_table_is_restored_as_of_a_time() {
    let cluster = Many::start(1, 1);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    ingest(&http, TABLE, 0..100);
    admin(&url, &["snapshot", "schedule", TABLE, "--every", "1s", "--keep", "2"]).ok();
    let ready = || snapshots(&http).into_iter().filter(|s| s["state"] == "ready").collect::<Vec<_>>();
    let mut seen = BTreeSet::new();
    wait_for("snapshots to be replaced by newer ones", || {
        let now = ready();
        assert!(now.len() <= 3, "{now:?}");
        seen.extend(now.iter().map(|s| s["name"].as_str().unwrap().to_owned()));
        (seen.len() >= 4).then_some(())
    });
    admin(&url, &["snapshot", "schedule", TABLE, "--off"]).ok();
    wait_for("the last of them", || snapshots(&http).iter().all(|s| s["state"] == "ready").then_some(()));
    let newest = ready().last().unwrap().clone();
    ingest(&http, TABLE, 100..200);
    let time = newest["taken_at"].as_str().unwrap();
    admin(&url, &["restore", TABLE, "raw.then", "--at", time]).ok();
    assert_shows(&http, "raw.then", 0..100);
    assert_shows(&http, TABLE, 0..200);
    admin(&url, &["restore", TABLE, "raw.never", "--at", "2001-01-01"]).fails_with(&["no snapshot of table 'raw.killed'", "2001-01-01"]);
    let listed = admin(&url, &["snapshot", "list", TABLE]).ok();
    assert!(listed.contains(newest["name"].as_str().unwrap()) && listed.contains("schedule"), "{listed}");
    // An expiry ends one by itself.
    admin(&url, &["snapshot", "create", TABLE, "--name", "short", "--expires", "1s"]).ok();
    wait_for("the snapshot to expire", || snapshots(&http).iter().all(|s| s["name"] != "short").then_some(()));
}

#[test]
fn a_protected_table_is_not_dropped_and_mistakes_are_said_clearly() {
    let cluster = Many::start(1, 1);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    admin(&url, &["protect", TABLE]).ok();
    assert_eq!(http.get(&format!("/v1/tables/{TABLE}"))["protected"], json!(true));
    Finished::of(stele().args(["table", "delete", TABLE, "--url", &url])).fails_with(&["protected", "stele admin unprotect raw.killed"]);
    assert_eq!(http.delete(&format!("/v1/tables/{TABLE}")), 409);
    admin(&url, &["clone", "raw.none", "raw.b"]).fails_with(&["raw.none"]);
    admin(&url, &["clone", &format!("{TABLE}@none"), "raw.b"]).fails_with(&["there is no snapshot 'raw.killed@none'"]);
    admin(&url, &["clone", TABLE, TABLE]).fails_with(&["exists already"]);
    admin(&url, &["clone", "system.runs", "raw.b"]).fails_with(&["belongs to Stele"]);
    admin(&url, &["backup", TABLE, "backups/today"]).fails_with(&["backups/today", "absolute path"]);
    admin(&url, &["restore", TABLE, "raw.b"]).fails_with(&["--at TIME"]);
    admin(&url, &["snapshot", "create", TABLE, "--expires", "soon"]).fails_with(&["expires_after", "soon"]);
    admin(&url, &["snapshot", "drop", TABLE]).fails_with(&["dataset.name@snapshot"]);
    admin(&url, &["snapshot", "schedule", TABLE, "--every", "1h", "--keep", "0"]).fails_with(&["keep 1 to"]);
    let (status, answer) = http
        .post("/v1/admin/procedures", &json!({"procedure": "clone", "table": TABLE, "snapshot": "s", "at": "2026-01-01", "name": "raw.b"}))
        .unwrap();
    assert!(status == 400 && answer.to_string().contains("'snapshot' and 'at'"), "{answer}");
    admin(&url, &["unprotect", TABLE]).ok();
    assert_eq!(http.delete(&format!("/v1/tables/{TABLE}")), 204);
}
