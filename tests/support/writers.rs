//! Rows whose halves show, written by several threads that know what was acknowledged.

use super::{Http, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const ROWS_A_REQUEST: u64 = 20;
/// Columns of a row, all with the row's number: a half row has fewer, or different ones.
const COLUMNS: [&str; 5] = ["a", "b", "c", "d", "e"];
const WRITERS: u64 = 2;

/// Row `n` as NDJSON; every third row has an undeclared attribute too.
pub fn line(n: u64) -> String {
    let mut row = json!({ "writer": format!("w{}", n % WRITERS), "n": n });
    for column in COLUMNS {
        row[column] = json!(format!("{column}{n}"));
    }
    if n.is_multiple_of(3) {
        row["extra"] = json!({ "n": n });
    }
    format!("{row}\n")
}

/// Creates the table that writers write, with a tablet for each of them.
pub fn create_table(http: &Http) {
    let columns: BTreeMap<_, _> = COLUMNS.iter().map(|c| (*c, "string")).collect();
    let spec = json!({ "name": "raw.killed", "key": [{ "writer": "string" }, { "n": "int64" }], "columns": columns, "split_at": [["w1"]] });
    // A store that is slow answers 503, "repeat the command"; the same table again is fine.
    wait_for("the table", || {
        let (status, answer) = http.post("/v1/tables", &spec).unwrap();
        assert!(status < 300 || status == 503, "{answer}");
        (status < 300).then_some(())
    });
}

/// Writes in several threads until told to stop; the numbers of all acknowledged rows.
pub struct Writers {
    /// Rows of each.
    acknowledged: Vec<Arc<AtomicU64>>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<u64>>>,
}

impl Writers {
    /// Starts them against a gateway.
    pub fn start(url: &str) -> Self {
        let acknowledged: Vec<_> = (0..WRITERS).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..WRITERS)
            .map(|writer| {
                let (url, acknowledged, stop) = (url.to_owned(), acknowledged[writer as usize].clone(), stop.clone());
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

    /// Waits until `more` further rows are acknowledged, as many of each writer: each has a tablet of its own.
    pub fn wait_for_more(&self, more: u64) {
        for acknowledged in &self.acknowledged {
            let due = acknowledged.load(Ordering::SeqCst) + more / WRITERS;
            wait_for("acknowledged rows of a writer", || (acknowledged.load(Ordering::SeqCst) >= due).then_some(()));
        }
    }

    /// Ends them; the numbers of all acknowledged rows.
    pub fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    }
}

/// Every acknowledged row is there, and every row that is there is whole.
pub fn check(http: &Http, acknowledged: &[u64]) {
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
