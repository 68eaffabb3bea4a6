//! Rows that refer to each other in rings, written by several threads, and what a scan of them must show. After HBase's
//! IntegrationTestBigLinkedList: one lost, stale or resurfaced row breaks a ring, wherever it is.
//!
//! A writer draws [`WIDTH`] keys and writes a row for each, which refers to the row at the same place of the batch before;
//! only once all of a batch are acknowledged does the next one refer to them. After [`DEPTH`] batches the first one is
//! written again, shifted by one, to refer to the last: all the lists become one ring of `WIDTH × DEPTH` rows.

use super::{DEADLINE, Http};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Instant;

/// Lists that grow side by side, and become one ring.
pub const WIDTH: usize = 1_000;
/// Batches of a ring.
pub const DEPTH: usize = 25;
/// Where a list begins while it is no ring yet.
const NOTHING: &str = "-";
/// Bytes of the value of the third family.
const BIG: usize = 200;

/// The table of the rows, with three families: what refers, and a small and a larger value beside it.
pub fn create_table(http: &Http, table: &str) {
    let data = |name: &str, ty: &str| json!({ "name": name, "type": ty });
    let of = |family: &str| json!({ "name": family, "type": "string", "family": format!("{family}_family") });
    let columns = json!([data("prev", "string"), data("count", "int64"), data("client", "int64"), of("tiny"), of("big")]);
    let spec = json!({ "name": table, "key": [{ "id": "string" }], "columns": columns, "split_at": [["5"], ["b"]] });
    let (status, answer) = http.post("/v1/tables", &spec).unwrap();
    assert!(status < 300, "{answer}");
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    id: String,
    prev: String,
    count: u64,
}

impl Node {
    fn line(&self, client: u64) -> String {
        let (id, count) = (&self.id, self.count);
        let row = json!({ "id": id, "prev": self.prev, "count": count, "client": client, "tiny": tiny(id), "big": big(id) });
        format!("{row}\n")
    }
}

/// What the second family has of a row.
fn tiny(id: &str) -> String {
    id[..2].to_owned()
}

/// What the third family has of a row.
fn big(id: &str) -> String {
    id.repeat(BIG / id.len())
}

/// Writes one ring; the keys of its first batch. Each row is sent until it is acknowledged.
pub fn write_ring(http: &Http, table: &str, client: u64, random: &mut StdRng) -> Vec<String> {
    let (mut first, mut last) = (Vec::new(), vec![NOTHING.to_owned(); WIDTH]);
    for batch in 0..DEPTH {
        let ids: Vec<String> = (0..WIDTH).map(|_| format!("{:032x}", random.random::<u128>())).collect();
        store(http, table, client, batch, &ids, &last);
        if batch == 0 {
            first = ids.clone();
        }
        last = ids;
    }
    first.rotate_left(1);
    store(http, table, client, 0, &first, &last);
    first
}

fn store(http: &Http, table: &str, client: u64, batch: usize, ids: &[String], before: &[String]) {
    let node = |(slot, (id, prev)): (usize, (&String, &String))| {
        let count = (batch * WIDTH + slot) as u64;
        Node { id: id.clone(), prev: prev.clone(), count }.line(client)
    };
    let lines: String = ids.iter().zip(before).enumerate().map(node).collect();
    let (begun, mut pause) = (Instant::now(), std::time::Duration::from_millis(20));
    loop {
        let answer = http.ingest(table, &lines);
        if answer.as_ref().is_ok_and(|(status, answer)| *status == 200 && answer["rows"] == json!(WIDTH)) {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "batch {batch} of writer {client} is not stored: {answer:?}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(std::time::Duration::from_secs(1));
    }
}

/// Follows a finished ring for some rows; how many were seen. No answer is no finding, a missing row is one.
pub fn walk(http: &Http, table: &str, from: &str, steps: usize) -> usize {
    let mut id = from.to_owned();
    for step in 0..steps {
        let answer = http.try_get(&format!("/v1/tables/{table}/row?id={id}"));
        let Ok((status @ (200 | 404), row)) = answer else { return step };
        assert_eq!(status, 200, "row {id} of a finished ring is undefined");
        let prev = row["prev"].as_str().unwrap();
        assert_ne!(prev, NOTHING, "row {id} of a finished ring is as it was before the ring was closed");
        id = prev.to_owned();
    }
    steps
}

/// What a scan of all rows shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that exactly one row refers to.
    pub referenced: u64,
    /// Keys that some row refers to, and that have no row: lost writes.
    pub undefined: u64,
    /// Rows that none refers to: a lost or an old row elsewhere.
    pub unreferenced: u64,
    /// Rows that several refer to.
    pub extra: u64,
    /// Rows that lack what one of their families should have.
    pub lost_families: u64,
    /// Rows that the scan gave twice.
    pub repeated: u64,
}

/// Counts what refers to what.
pub fn count(rows: &[Value]) -> Counts {
    let mut counts = Counts::default();
    let mut refers: HashMap<&str, (u64, u64)> = HashMap::new();
    for row in rows {
        let id = row["id"].as_str().unwrap();
        refers.entry(id).or_default().0 += 1;
        if let Some(prev) = row["prev"].as_str() {
            refers.entry(prev).or_default().1 += 1;
        }
        let whole = row["prev"].is_string() && row["count"].is_u64() && row["client"].is_u64();
        counts.lost_families += u64::from(!whole || row["tiny"] != json!(tiny(id)) || row["big"] != json!(big(id)));
    }
    for (defined, references) in refers.into_values() {
        match (defined, references) {
            (0, _) => counts.undefined += 1,
            (_, 0) => counts.unreferenced += 1,
            (_, 1) => counts.referenced += 1,
            _ => counts.extra += 1,
        }
        counts.repeated += u64::from(defined > 1);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &[u128]) -> Vec<Value> {
        let name = |n: u128| format!("{n:032x}");
        let row = |(i, id): (usize, &u128)| {
            let (id, prev) = (name(*id), name(ids[(i + ids.len() - 1) % ids.len()]));
            serde_json::from_str(Node { id, prev, count: i as u64 }.line(1).trim()).unwrap()
        };
        ids.iter().enumerate().map(row).collect()
    }

    const WHOLE: Counts = Counts { referenced: 4, undefined: 0, unreferenced: 0, extra: 0, lost_families: 0, repeated: 0 };

    #[test]
    fn a_ring_refers_to_each_of_its_rows_once() {
        assert_eq!(count(&ring(&[7, 3, 9, 1])), WHOLE);
    }

    #[test]
    fn what_is_lost_or_old_shows() {
        let mut lost = ring(&[7, 3, 9, 1]);
        lost.remove(2);
        assert_eq!(count(&lost), Counts { referenced: 2, undefined: 1, unreferenced: 1, ..WHOLE });
        let mut open = ring(&[7, 3, 9, 1]);
        open[0]["prev"] = json!(NOTHING);
        assert_eq!(count(&open), Counts { referenced: 3, undefined: 1, unreferenced: 1, ..WHOLE });
        let mut twice = ring(&[7, 3, 9, 1]);
        twice.push(twice[1].clone());
        assert_eq!((count(&twice).repeated, count(&twice).extra), (1, 1));
        let mut half = ring(&[7, 3, 9, 1]);
        half[3].as_object_mut().unwrap().remove("big");
        assert_eq!(count(&half), Counts { lost_families: 1, ..WHOLE });
    }
}
