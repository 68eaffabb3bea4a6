//! A kill loses nothing that was acknowledged, and leaves no half row behind.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::{Cluster, DEADLINE, Http, Role, wait_for};

const ROWS_A_REQUEST: u64 = 20;
/// Columns of a row, all with the row's number: a half row has fewer, or different ones.
const COLUMNS: [&str; 5] = ["a", "b", "c", "d", "e"];
const WRITERS: u64 = 2;

/// Row `n` as NDJSON; every third row has an undeclared attribute too.
fn line(n: u64) -> String {
    let mut row = json!({ "writer": format!("w{}", n % WRITERS), "n": n });
    for column in COLUMNS {
        row[column] = json!(format!("{column}{n}"));
    }
    if n.is_multiple_of(3) {
        row["extra"] = json!({ "n": n });
    }
    format!("{row}\n")
}

fn create_table(cluster: &Cluster) {
    let columns: BTreeMap<_, _> = COLUMNS.iter().map(|c| (*c, "string")).collect();
    let spec = json!({ "name": "raw.killed", "key": [{ "writer": "string" }, { "n": "int64" }], "columns": columns });
    let (status, answer) = cluster.http().post("/v1/tables", &spec).unwrap();
    assert!(status < 300, "{answer}");
}

/// Writes in several threads until told to stop; the numbers of all acknowledged rows.
struct Writers {
    acknowledged: std::sync::Arc<AtomicU64>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<u64>>>,
}

impl Writers {
    fn start(url: &str) -> Self {
        let acknowledged = std::sync::Arc::new(AtomicU64::new(0));
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let threads = (0..WRITERS)
            .map(|writer| {
                let (url, acknowledged, stop) = (url.to_owned(), acknowledged.clone(), stop.clone());
                std::thread::spawn(move || {
                    let (http, mut stored, mut next) = (Http::new(&url), Vec::new(), writer);
                    while !stop.load(Ordering::SeqCst) {
                        let numbers: Vec<u64> = (0..ROWS_A_REQUEST).map(|i| next + i * WRITERS).collect();
                        next += ROWS_A_REQUEST * WRITERS;
                        let lines: String = numbers.iter().map(|n| line(*n)).collect();
                        // No answer, or a refusal: the rows may be there or not. Each number is written once.
                        match http.ingest("raw.killed", &lines) {
                            Ok((200, answer)) if answer["rows"] == json!(ROWS_A_REQUEST) => {
                                acknowledged.fetch_add(ROWS_A_REQUEST, Ordering::SeqCst);
                                stored.extend(numbers);
                            }
                            // Leaves the processor to who starts again.
                            _ => std::thread::sleep(Duration::from_millis(20)),
                        }
                    }
                    stored
                })
            })
            .collect();
        Self { acknowledged, stop, threads }
    }

    /// Waits until `more` further rows are acknowledged.
    fn wait_for_more(&self, more: u64) {
        let from = self.acknowledged.load(Ordering::SeqCst);
        wait_for("acknowledged rows", || (self.acknowledged.load(Ordering::SeqCst) >= from + more).then_some(()));
    }

    fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    }
}

/// Every acknowledged row is there, and every row that is there is whole.
fn check(http: &Http, acknowledged: &[u64]) {
    let rows = wait_for("an answer after the restart", || http.try_sql("select * from raw.killed").ok());
    let found: BTreeMap<u64, Value> = rows.into_iter().map(|row| (row["n"].as_u64().unwrap(), row)).collect();
    for n in acknowledged {
        assert!(found.contains_key(n), "row {n} was acknowledged and is lost");
    }
    for (n, row) in &found {
        for column in COLUMNS {
            assert_eq!(row[column], json!(format!("{column}{n}")), "half row {n}: {row}");
        }
        let extra = row["attrs"].get("extra").cloned().unwrap_or_default();
        assert_eq!(!extra.is_null(), n.is_multiple_of(3), "half row {n}: {row}");
    }
}

#[test]
fn up_killed_in_the_middle_of_an_ingest_keeps_every_acknowledged_row() {
    let mut cluster = Cluster::up();
    create_table(&cluster);
    let mut all = Vec::new();
    // The second kill hits a process that has just recovered.
    for _ in 0..2 {
        let writers = Writers::start(&cluster.url());
        writers.wait_for_more(600);
        cluster.kill(Role::TabletServer);
        let acknowledged = writers.stop();
        assert!(acknowledged.len() >= 600);
        all.extend(acknowledged);
        cluster.restart(Role::TabletServer);
        cluster.wait_ready();
        check(&cluster.http(), &all);
    }
}

#[test]
fn three_processes_killed_in_turn_keep_every_acknowledged_row() {
    let mut cluster = Cluster::three();
    create_table(&cluster);
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    for role in [Role::TabletServer, Role::Gateway, Role::Master] {
        cluster.kill(role);
        cluster.restart(role);
        // Writing goes on by itself once the role is back.
        writers.wait_for_more(200);
    }
    let acknowledged = writers.stop();
    check(&cluster.http(), &acknowledged);
}

#[test]
fn an_ended_cluster_starts_again_with_its_rows() {
    let mut cluster = Cluster::up();
    create_table(&cluster);
    let lines: String = (0..50).map(line).collect();
    assert_eq!(cluster.http().ingest("raw.killed", &lines).unwrap().1["rows"], 50);
    cluster.end(Role::TabletServer);
    cluster.restart(Role::TabletServer);
    cluster.wait_ready();
    check(&cluster.http(), &(0..50).collect::<Vec<_>>());
}

#[test]
fn a_folder_in_use_and_a_taken_address_are_named() {
    let cluster = Cluster::up();
    let (dir, address) = (cluster.dir().join("data"), cluster.url().replace("http://", ""));
    let (sender, receiver) = mpsc::channel();
    let began = Instant::now();
    std::thread::spawn(move || {
        let folder = support::Finished::of(support::stele().args(["up", "--listen", "127.0.0.1:0", "--dir"]).arg(&dir));
        let other = tempfile::tempdir().unwrap();
        let taken = support::Finished::of(support::stele().args(["up", "--listen", &address, "--dir"]).arg(other.path()));
        sender.send((dir, address, folder, taken)).unwrap();
    });
    let (dir, address, folder, taken) = receiver.recv_timeout(DEADLINE).unwrap();
    folder.fails_with(&["in use", &dir.display().to_string(), "--dir"]);
    taken.fails_with(&[&address, "--listen"]);
    assert!(began.elapsed() < Duration::from_secs(60));
}
