//! Processes that were paused for longer than they may be silent, and wake up: with calls that came while they slept, over
//! connections that nobody has closed.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use common::changes::Changes;
use common::config::LogKind;
use common::ids::{Incarnation, ServerId};
use common::rpc::master::{Command, Reply, Report};
use common::schema::TableSpec;
use common::time::Micros;
use common::{ErrorKind, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::direct::{Direct, Place};
use support::{Http, Many, wait_for};

const TABLE: &str = "raw.zombie";
/// Calls of each kind that come while a server sleeps.
const CALLS: i64 = 10;
/// Refusals in a row after which a server that woke up is taken to know that it was replaced.
const REFUSALS: usize = 20;

/// Sets `v` of row `k` by way of the gateway, however long that takes.
fn set(http: &Http, k: i64, v: i64) {
    let rows = json!({ "rows": [{ "set": { "k": k, "v": v } }] });
    wait_for("a write", || http.post(&format!("/v1/tables/{TABLE}/rows"), &rows).ok().filter(|(status, _)| *status == 200));
}

fn get(http: &Http, k: i64) -> Option<i64> {
    let found = wait_for("a read", || http.try_get(&format!("/v1/tables/{TABLE}/row?k={k}")).ok().filter(|(s, _)| matches!(s, 200 | 404)));
    (found.0 == 200).then(|| found.1["v"].as_i64().unwrap())
}

fn place(master: &Direct) -> Place {
    wait_for("the tablet", || Place::of(&master.call(master.catalog()).ok()?, TABLE))
}

/// Writes rows from 1000 on, one after the other, and reads row 1, until refused for good; the rows that were acknowledged.
async fn go_on(server: Arc<Direct>, place: Place, woken: Arc<AtomicBool>) -> Vec<i64> {
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for k in 1000.. {
        let awake = woken.load(Ordering::SeqCst);
        let wrote: Result<()> = server.write(&place, k, 1).await;
        let read = server.read(&place, 1).await;
        if let Ok(seen) = read {
            // What was read after the pause is what the successor was given, whoever reads it.
            assert!(!awake || seen == Some(2), "a stale read: {seen:?}");
        }
        match wrote {
            Ok(()) => {
                acknowledged.push(k);
                refused = 0;
            }
            Err(_) => refused += usize::from(awake),
        }
        if refused == REFUSALS {
            break;
        }
        tokio::task::yield_now().await;
    }
    acknowledged
}

#[test]
fn a_tablet_server_that_slept_beyond_its_lease_neither_acknowledges_nor_reads() {
    let cluster = Many::start(1, 2);
    let http = cluster.http();
    assert!(http.post("/v1/tables", &Place::spec(TABLE)).unwrap().0 < 300);
    set(&http, 1, 1);
    let place = place(&Direct::to(&cluster.masters[0].address));
    let sleeper = cluster.servers.iter().find(|s| s.address == place.address).unwrap();
    let server = Arc::new(Direct::to(&sleeper.address));
    assert_eq!(server.call(server.write(&place, 2, 1)), Ok(()));
    assert_eq!(server.call(server.read(&place, 1)), Ok(Some(1)));
    let woken = Arc::new(AtomicBool::new(false));
    let going_on = server.begin(go_on(server.clone(), place.clone(), woken.clone()));
    wait_for("direct writes", || get(&http, 1020));

    sleeper.pause();
    let writes: Vec<_> = (0..CALLS).map(|i| server.begin(server.write(&place, 100 + i, 1))).collect();
    let reads: Vec<_> = (0..CALLS).map(|_| server.begin(server.read(&place, 1))).collect();
    // Its successor has the tablet.
    set(&http, 1, 2);
    woken.store(true, Ordering::SeqCst);
    sleeper.resume();

    for write in writes {
        assert_eq!(server.end(write).map_err(|e| e.kind), Err(ErrorKind::NotMine));
    }
    for read in reads {
        assert_eq!(server.end(read).map_err(|e| e.kind), Err(ErrorKind::NotMine));
    }
    let acknowledged = server.end(going_on);
    assert!(acknowledged.len() >= 20, "{acknowledged:?}");
    for k in acknowledged {
        assert_eq!(get(&http, k), Some(1), "row {k} was acknowledged");
    }
    for k in 100..100 + CALLS {
        assert_eq!(get(&http, k), None, "row {k} was refused");
    }
    assert_eq!(get(&http, 1), Some(2));
}

/// A report of a server that wants nothing.
fn report(server: ServerId, sequence: u64) -> Report {
    Report {
        server,
        incarnation: Incarnation(1),
        address: "127.0.0.1:1".into(),
        log: LogKind::Object,
        sequence,
        order_version: 0,
        tablets: Changes::whole(sequence, Vec::new()),
        requests: 0,
        // So far off that it is given no tablets.
        wall: Micros(0),
        leaving: true,
    }
}

#[test]
fn a_leading_master_that_slept_through_an_election_decides_nothing() {
    let cluster = Many::start(3, 1);
    let http = cluster.http();
    let sleeper = Direct::to(&cluster.masters[0].address);
    let leads = |nodes: Vec<common::rpc::master::MasterNode>| nodes.into_iter().find(|n| n.leads).map(|n| n.address);
    assert_eq!(sleeper.masters().ok().and_then(leads), Some(cluster.masters[0].address.clone()), "the founder leads until it is lost");
    let Ok(Reply::Registered { server }) = sleeper.call(sleeper.submit(&Command::RegisterServer)) else { panic!("no server id") };
    let (reports, mut orders) = sleeper.heartbeat();
    reports.send(report(server, 1)).unwrap();
    let before = sleeper.wait(orders.recv()).unwrap();
    assert_eq!(before.answers, 1);

    cluster.masters[0].pause();
    let catalog = sleeper.begin(sleeper.catalog());
    let created = sleeper.begin(sleeper.submit(&Command::CreateTable { spec: TableSpec::named("raw.late") }));
    reports.send(report(server, 2)).unwrap();
    wait_for("a new leader's decision", || http.post("/v1/tables", &Place::spec(TABLE)).ok().filter(|(status, _)| *status < 300));
    cluster.masters[0].resume();

    // Answers may come by way of the new leader, but then they are its answers.
    if let Ok(catalog) = sleeper.end(catalog) {
        assert!(catalog.table(TABLE).is_some(), "a catalog of before the election");
    }
    let created = sleeper.end(created);
    let leases = sleeper.wait(async {
        let mut leases = Vec::new();
        while let Some(orders) = orders.recv().await {
            leases.extend((orders.answers == 2).then_some(orders.term));
        }
        leases
    });
    assert!(leases.iter().all(|term| *term > before.term), "a lease of term {} after the election: {leases:?}", before.term);
    if created.is_ok() {
        let known = |tables: Value| tables["tables"].as_array().unwrap().iter().any(|t| t["name"] == "raw.late");
        wait_for("the new leader to know what the old one has answered", || known(http.get("/v1/tables")).then_some(()));
    }
}
