//! Rows whose values only rise, written and read all the time: who knows what was acknowledged, knows what a read may show.

use super::Http;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Rows of a tablet.
pub const ROWS: u64 = 100;
/// The row of each tablet that writers write; the others stay as they were.
const MARK: u64 = 50;
const WRITERS: u64 = 3;
const READERS: u64 = 3;

/// A table whose tablet `i` has the rows from `i * ROWS` on.
pub fn create_table(http: &Http, table: &str, tablets: u64) {
    let cuts: Vec<_> = (1..tablets).map(|i| json!([i * ROWS])).collect();
    let spec = json!({ "name": table, "key": [{ "k": "int64" }], "columns": { "v": "int64", "fill": "string" }, "split_at": cuts });
    let (status, answer) = http.post("/v1/tables", &spec).unwrap();
    assert!(status < 300, "{answer}");
}

/// Sets a row; whether that was acknowledged.
pub fn set(http: &Http, table: &str, k: u64, v: u64) -> bool {
    try_set(http, table, k, v).is_ok()
}

/// Sets a row; else why it was not acknowledged.
pub fn try_set(http: &Http, table: &str, k: u64, v: u64) -> Result<(), String> {
    let rows = json!({ "rows": [{ "set": { "k": k, "v": v } }] });
    match http.post(&format!("/v1/tables/{table}/rows"), &rows) {
        Ok((200, _)) => Ok(()),
        Ok((status, answer)) => Err(format!("{status}: {answer}")),
        Err(e) => Err(format!("no answer: {e}")),
    }
}

/// A row's value, 0 for none; `None` without an answer.
pub fn get(http: &Http, table: &str, k: u64) -> Option<u64> {
    match http.try_get(&format!("/v1/tables/{table}/row?k={k}")) {
        Ok((200, row)) => Some(row["v"].as_u64().unwrap_or(0)),
        Ok((404, _)) => Some(0),
        _ => None,
    }
}

/// One row of each tablet: the highest value sent, and acknowledged.
struct Marks {
    table: String,
    sent: Vec<AtomicU64>,
    acknowledged: Vec<AtomicU64>,
    reads: AtomicU64,
    stop: AtomicBool,
}

/// Writes and reads until told to stop.
pub struct Watch {
    marks: Arc<Marks>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// Starts on a table of so many tablets. A wrong read fails the test when it is stopped.
    pub fn start(url: &str, table: &str, tablets: u64) -> Self {
        let counters = || (0..tablets).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let (sent, acknowledged, reads, stop) = (counters(), counters(), AtomicU64::new(0), AtomicBool::new(false));
        let marks = Arc::new(Marks { table: table.to_owned(), sent, acknowledged, reads, stop });
        let spawn = |n: u64| {
            let (marks, http) = (marks.clone(), Http::new(url));
            std::thread::spawn(move || if n < WRITERS { marks.write(&http, n) } else { marks.read(&http, n) })
        };
        let threads = (0..WRITERS + READERS).map(spawn).collect();
        Self { marks, threads }
    }

    /// Ends them, and reads every row a last time; how many values were acknowledged, and how many reads were judged.
    pub fn stop(self, http: &Http) -> (u64, u64) {
        self.marks.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|t| t.join().unwrap());
        for tablet in 0..self.marks.sent.len() {
            super::wait_for("a last read", || self.marks.judge(http, tablet));
        }
        let acknowledged = self.marks.acknowledged.iter().map(|v| v.load(Ordering::SeqCst)).sum();
        (acknowledged, self.marks.reads.load(Ordering::SeqCst))
    }
}

impl Marks {
    /// Raises the rows of every n-th tablet in turn. A value without acknowledgement is not written again.
    fn write(&self, http: &Http, n: u64) {
        let own: Vec<usize> = (0..self.sent.len()).filter(|i| *i as u64 % WRITERS == n).collect();
        for tablet in own.iter().copied().cycle().take_while(|_| !self.stop.load(Ordering::SeqCst)) {
            let v = self.sent[tablet].fetch_add(1, Ordering::SeqCst) + 1;
            if set(http, &self.table, tablet as u64 * ROWS + MARK, v) {
                self.acknowledged[tablet].store(v, Ordering::SeqCst);
            }
            // Leaves the processor to the cluster.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn read(&self, http: &Http, n: u64) {
        let mut random = StdRng::seed_from_u64(n);
        while !self.stop.load(Ordering::SeqCst) {
            self.judge(http, random.random_range(0..self.sent.len()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads a row, and fails unless it is as new as what was acknowledged before, and not newer than what was sent.
    fn judge(&self, http: &Http, tablet: usize) -> Option<()> {
        let least = self.acknowledged[tablet].load(Ordering::SeqCst);
        let seen = get(http, &self.table, tablet as u64 * ROWS + MARK)?;
        let most = self.sent[tablet].load(Ordering::SeqCst);
        assert!((least..=most).contains(&seen), "tablet {tablet}: read {seen}, but {least} was acknowledged and {most} sent");
        self.reads.fetch_add(1, Ordering::SeqCst);
        Some(())
    }
}
