//! What SIGTERM does to each role: what is under way ends well, what was acknowledged stays, the others go on.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use support::writers::{Writers, check, create_table, line};
use support::{Bucket, Many, Ministack, Mood, Proxy, wait_for};

#[test]
fn a_tablet_server_that_ends_leaves_its_tablets_flushed_to_another_one() {
    let mut cluster = Many::start(1, 2);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    cluster.servers[0].end();
    // Both tablets are written, so the other server has them.
    writers.wait_for_more(400);
    cluster.restart_server(0);
    cluster.servers[1].end();
    writers.wait_for_more(400);
    let acknowledged = writers.stop();
    check(&cluster.http(), &acknowledged);
    for n in 0..2 {
        let log = cluster.server_log(n);
        assert!(log.contains("tablet closed") && !log.contains("could not be flushed"), "{log}");
    }
}

#[test]
fn a_leading_master_that_ends_is_followed_by_another_one() {
    let mut cluster = Many::start(3, 1);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(200);
    cluster.masters[0].end();
    writers.wait_for_more(400);
    let http = cluster.http();
    let spec = json!({ "name": "raw.after", "key": [{ "n": "int64" }] });
    wait_for("a new leader", || http.post("/v1/tables", &spec).ok().filter(|(status, _)| *status < 300));
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
}

/// The beginning of an ingest whose body goes on.
fn begin_ingest(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /v1/tables/raw.killed/ingest HTTP/1.1\r\nhost: stele\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    send_chunk(&mut stream, &line(1));
    stream
}

fn send_chunk(stream: &mut TcpStream, text: &str) {
    write!(stream, "{:x}\r\n{text}\r\n", text.len()).unwrap();
}

#[test]
fn a_gateway_that_ends_finishes_the_requests_that_it_has() {
    let mut cluster = Many::start(1, 1);
    create_table(&cluster.http());
    let address = cluster.gateway.address.clone();
    let mut stream = begin_ingest(&address);
    // Answered on another connection: the gateway has had time for the first one too.
    cluster.http().sql("select count(*) as n from raw.killed");
    cluster.gateway.signal("TERM");
    wait_for("the end of new connections", || TcpStream::connect(&address).is_err().then_some(()));
    send_chunk(&mut stream, &line(2));
    send_chunk(&mut stream, "");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"rows\":2"), "{answer}");
    assert_eq!(cluster.gateway.wait(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut cluster = Many::start(1, 1);
    create_table(&cluster.http());
    let address = cluster.gateway.address.clone();
    let _stream = begin_ingest(&address);
    cluster.http().sql("select count(*) as n from raw.killed");
    cluster.gateway.signal("TERM");
    wait_for("the end of new connections", || TcpStream::connect(&address).is_err().then_some(()));
    assert!(cluster.gateway.runs());
    cluster.gateway.signal("TERM");
    assert_eq!(cluster.gateway.wait(), Some(1));
}

#[test]
fn a_tablet_server_ends_while_its_store_does_not_answer() {
    let Some(server) = Ministack::start("a_tablet_server_ends_while_its_store_does_not_answer") else { return };
    server.bucket("stele-ends");
    let proxy = Proxy::start(&server.endpoint());
    let mut cluster = Many::start_on(Bucket::s3(&proxy.endpoint(), "stele-ends"), 1, 1);
    create_table(&cluster.http());
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(400);
    let acknowledged = writers.stop();
    proxy.set(Mood::Failing);
    // A clean end: it is not forced after thirty seconds. What could not be flushed is in the log.
    cluster.servers[0].end();
    proxy.set(Mood::Fine);
    cluster.restart_server(0);
    check(&cluster.http(), &acknowledged);
}
