//! Rows are appended to and compared-and-set by several clients while servers are killed and paused, masters are killed, and
//! tablets are moved, split and merged. What the clients saw must fit one order of each row's writes.
//!
//! `STELE_FAULT_SECONDS` asks for more than the seconds that a normal run takes.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::faults::{self, Faults};
use support::history::{Answer, Event, Op, check};
use support::{Http, Many, wait_for};

const TABLE: &str = "raw.registers";
const ROWS: u64 = 4;
const CLIENTS: u64 = 4;

fn create(http: &Http) {
    let spec = json!({ "name": TABLE, "key": [{ "k": "int64" }], "split_at": [[2]],
        "columns": { "list": "string", "same_list": "string", "register": "int64" } });
    let (status, answer) = http.post("/v1/tables", &spec).unwrap();
    assert!(status < 300, "{answer}");
}

fn tokens(text: &Value) -> Vec<u64> {
    text.as_str().unwrap_or_default().split_whitespace().map(|t| t.parse().unwrap()).collect()
}

/// One operation; what can be said of its outcome.
fn run(http: &Http, key: u64, op: &Op) -> Answer {
    let path = |what: &str| format!("/v1/tables/{TABLE}/row/{what}");
    match op {
        Op::Append(token) => {
            let token = format!("{token} ");
            let body = json!({ "key": { "k": key }, "append": { "list": token, "same_list": token } });
            match http.post(&path("modify"), &body) {
                Ok((200, answer)) => {
                    assert_eq!(answer["row"]["list"], answer["row"]["same_list"], "a row's columns change together");
                    Answer::Appended(tokens(&answer["row"]["list"]))
                }
                _ => Answer::Unknown,
            }
        }
        Op::Swap(from, to) => {
            let expected = if *from == 0 { Value::Null } else { json!(from) };
            let body = json!({ "key": { "k": key }, "if": { "register": expected }, "then": { "set": { "register": to } } });
            match http.post(&path("check"), &body) {
                Ok((200, answer)) => Answer::Swapped(answer["matched"] == true),
                _ => Answer::Unknown,
            }
        }
        Op::Read => match http.try_get(&format!("/v1/tables/{TABLE}/row?k={key}")) {
            Ok((200, row)) => {
                assert_eq!(row["list"], row["same_list"], "a row's columns are read together");
                Answer::Seen(tokens(&row["list"]), row["register"].as_u64().unwrap_or(0))
            }
            Ok((404, _)) => Answer::Seen(Vec::new(), 0),
            _ => Answer::Unknown,
        },
    }
}

/// One client until `stop`; the events of each row.
fn client(url: &str, seed: u64, begun: Instant, unique: &AtomicU64, stop: &AtomicBool) -> Vec<(u64, Event)> {
    let (http, mut random, mut events) = (Http::new(url), StdRng::seed_from_u64(seed), Vec::new());
    let mut known = [0u64; ROWS as usize];
    while !stop.load(Ordering::SeqCst) {
        let key = random.random_range(0..ROWS);
        let op = match random.random_range(0..10) {
            0..4 => Op::Append(unique.fetch_add(1, Ordering::SeqCst)),
            4..7 => Op::Swap(known[key as usize], unique.fetch_add(1, Ordering::SeqCst)),
            _ => Op::Read,
        };
        let sent = begun.elapsed();
        let answer = run(&http, key, &op);
        match (&op, &answer) {
            (Op::Swap(_, to), Answer::Swapped(true)) => known[key as usize] = *to,
            (_, Answer::Seen(_, value)) => known[key as usize] = *value,
            _ => {}
        }
        events.push((key, Event { sent, answered: begun.elapsed(), op, answer }));
        // So slow that lists stay short.
        std::thread::sleep(Duration::from_millis(random.random_range(5..25)));
    }
    events
}

#[test]
fn each_rows_history_fits_one_order_whatever_happens_to_the_cluster() {
    let (lasting, seed) = (faults::seconds(25), faults::seed());
    let mut cluster = Many::start(3, 3);
    create(&cluster.http());
    let (unique, stop, begun) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)), Instant::now());
    let events: Arc<Mutex<Vec<(u64, Event)>>> = Arc::default();
    let threads: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (url, unique, stop, events) = (cluster.url(), unique.clone(), stop.clone(), events.clone());
            std::thread::spawn(move || {
                let own = client(&url, seed ^ n, begun, &unique, &stop);
                events.lock().unwrap().extend(own);
            })
        })
        .collect();
    let split_at = |random: &mut StdRng| format!("[{}]", 1 + 2 * random.random_range(0..ROWS / 2));
    let until = Instant::now() + lasting;
    let done = Faults { table: TABLE, split_at: &split_at }.befall(&mut cluster, seed, || Instant::now() >= until);
    stop.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|t| t.join().unwrap());
    let http = cluster.http();
    let events = events.lock().unwrap();
    let answered = events.iter().filter(|(_, e)| e.answer != Answer::Unknown).count();
    println!("{} operations, {answered} with a known outcome; {}", events.len(), done.join("; "));
    assert!(answered > events.len() / 2, "most operations have an answer");
    for key in 0..ROWS {
        let history: Vec<_> = events.iter().filter(|(k, _)| *k == key).map(|(_, e)| e.clone()).collect();
        let last = wait_for("a last read", || match run(&http, key, &Op::Read) {
            Answer::Seen(list, value) => Some((list, value)),
            _ => None,
        });
        check(&history, (&last.0, last.1)).unwrap_or_else(|e| panic!("row {key}: {e}\n{done:#?}\n{history:#?}"));
    }
}
