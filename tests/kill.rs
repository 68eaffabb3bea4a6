//! A kill loses nothing that was acknowledged, and leaves no half row behind.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::writers::{Writers, check, create_table, line};
use support::{Cluster, DEADLINE, Role};

#[test]
fn up_killed_in_the_middle_of_an_ingest_keeps_every_acknowledged_row() {
    let mut cluster = Cluster::up();
    create_table(&cluster.http());
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
    create_table(&cluster.http());
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
    create_table(&cluster.http());
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
