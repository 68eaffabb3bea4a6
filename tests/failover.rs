//! Servers and masters that are lost for good, or for a while, in a cluster that goes on.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::json;
use support::writers::{Writers, check, create_table};
use support::{Many, wait_for};

#[test]
fn a_tablet_server_lost_with_its_disk_loses_nothing_acknowledged() {
    let mut cluster = Many::start(1, 2);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    cluster.servers[0].kill();
    std::fs::remove_dir_all(cluster.server_folder(0)).unwrap();
    // Both tablets are written, so the other server has taken over.
    writers.wait_for_more(400);
    // The new one takes over in its turn: all rows come from the store.
    cluster.restart_server(0);
    writers.wait_for_more(200);
    cluster.servers[1].kill();
    writers.wait_for_more(400);
    let acknowledged = writers.stop();
    check(&cluster.http(), &acknowledged);
}

#[test]
fn a_paused_tablet_server_serves_nothing_stale_and_begins_a_new_life() {
    let cluster = Many::start(1, 2);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    cluster.servers[0].signal("STOP");
    writers.wait_for_more(400);
    cluster.servers[0].signal("CONT");
    writers.wait_for_more(400);
    let acknowledged = writers.stop();
    check(&cluster.http(), &acknowledged);
}

#[test]
fn the_cluster_goes_on_without_its_leading_master() {
    let mut cluster = Many::start(3, 1);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(200);
    // The founder leads until it is lost.
    cluster.masters[0].kill();
    writers.wait_for_more(400);
    let http = cluster.http();
    let spec = json!({ "name": "raw.after", "key": [{ "n": "int64" }] });
    wait_for("a new leader", || http.post("/v1/tables", &spec).ok().filter(|(status, _)| *status < 300));
    cluster.restart_master(0);
    cluster.masters[1].kill();
    let spec = json!({ "name": "raw.again", "key": [{ "n": "int64" }] });
    wait_for("a leader among the founder and the third", || http.post("/v1/tables", &spec).ok().filter(|(status, _)| *status < 300));
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
}
