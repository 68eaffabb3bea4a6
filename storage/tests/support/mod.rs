//! Rows that show when they are half, and what is known of them from outside.

use bytes::Bytes;
use common::ids::{FamilyId, TableId};
use common::row::{Mutation, Row, RowMutation};
use common::schema::{Table, TableKind, TableSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys that tests write.
pub const KEYS: u64 = 40;
const CELLS: usize = 3;

/// A table of one family.
pub fn table() -> Arc<Table> {
    let spec: TableSpec =
        serde_json::from_value(serde_json::json!({"name": "test.rows", "undeclared": "none", "families": {"f": {}}})).unwrap();
    Arc::new(Table::create(TableId(1), TableKind::Raw, spec).unwrap())
}

/// The row key of a number.
pub fn key(n: u64) -> Bytes {
    Bytes::from(format!("key-{n:03}"))
}

/// Every cell of a row carries the row's number, so that half a row shows.
pub fn set(n: u64, value: u64) -> RowMutation {
    let cell = |i: usize| Mutation::Set {
        family: FamilyId(1),
        qualifier: Bytes::from(format!("q{i}")),
        timestamp: None,
        value: Bytes::from(format!("{value:0>0$}", 20 + i * 40)),
    };
    RowMutation { key: key(n), mutations: (0..CELLS).map(cell).collect() }
}

/// Deletes a row.
pub fn delete(n: u64) -> RowMutation {
    RowMutation { key: key(n), mutations: vec![Mutation::DeleteRow] }
}

/// The number that a row's cells agree on.
pub fn value(row: &Row) -> u64 {
    let numbers: Vec<u64> = row.cells.iter().map(|c| std::str::from_utf8(&c.value).unwrap().parse().unwrap()).collect();
    assert!(numbers.len() == CELLS && numbers.iter().all(|n| *n == numbers[0]), "half a row: {row:?}");
    numbers[0]
}

/// What a key may hold: the last acknowledged state, and those tried after it. 0: no row.
#[derive(Default)]
pub struct Known(BTreeMap<u64, Vec<u64>>);

impl Known {
    /// Takes note of `try KEY VALUE` or `done KEY VALUE`.
    pub fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (verb, n, v) = (words.next().unwrap(), words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        let states = self.0.entry(n).or_insert_with(|| vec![0]);
        match verb {
            "try" => states.push(v),
            _ => *states = vec![v],
        }
    }

    /// Holds what is there against what may be; from now on only that may be.
    pub fn check(&mut self, rows: &[Row], context: &str) {
        let found: BTreeMap<u64, u64> =
            rows.iter().map(|r| (std::str::from_utf8(&r.key[4..]).unwrap().parse().unwrap(), value(r))).collect();
        for n in 0..KEYS {
            let found = found.get(&n).copied().unwrap_or_default();
            let states = self.0.entry(n).or_insert_with(|| vec![0]);
            assert!(states.contains(&found), "{context}: key {n} holds {found}, one of {states:?} is due");
            *states = vec![found];
        }
    }
}
