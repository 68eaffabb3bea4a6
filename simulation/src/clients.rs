//! What clients do: append to lists, change registers, read rows, write rows once, scan them all.

use crate::cluster::{Stage, World};
use crate::linear::{Answer, Op};
use crate::witness::{Ack, Put, now};
use bytes::Bytes;
use common::Result;
use common::conditional::{CellTest, CheckAndMutate, Modify, ModifyRule, Predicate, ReadModifyWrite, ValueTest};
use common::ids::FamilyId;
use common::row::{Mutation, ReadSpec, Row, RowMutation};
use common::rpc::tablet::Conditional;
use common::schema::Table;
use futures::TryStreamExt;
use gateway::cluster::Cluster;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The table that all use.
pub const TABLE: &str = "sim.rows";
/// Rows that are changed often; each lies behind one of the letters that keys begin with.
const SHARED_ROWS: &[&str] = &["c/shared", "h/shared", "n/shared", "t/shared"];
/// What keys begin with.
pub const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
/// Rows of one write at most.
const BATCH: usize = 4;
/// Bytes of a value that is written once, at most: enough that memtables are flushed.
const VALUE_BYTES: usize = 600;

/// The columns of the table.
pub struct Columns {
    family: FamilyId,
    list: Bytes,
    /// Always changed together with `list`.
    twin: Bytes,
    register: Bytes,
    value: Bytes,
}

impl Columns {
    /// Their stored names.
    ///
    /// # Errors
    /// `InvalidArgument` if the table lacks the family.
    pub fn of(table: &Table) -> Result<Self> {
        let stored = |name: &str| table.stored_name("f", name.as_bytes());
        let (family, list) = stored("list")?;
        Ok(Self { family, list, twin: stored("twin")?.1, register: stored("register")?.1, value: stored("value")?.1 })
    }

    fn cell<'a>(&self, row: &'a Row, qualifier: &Bytes) -> Option<&'a Bytes> {
        row.cells.iter().find(|c| c.family == self.family && c.qualifier == *qualifier).map(|c| &c.value)
    }

    /// The list of a row; why it cannot be one.
    ///
    /// # Errors
    /// If its copies differ or it is damaged.
    pub fn list(&self, row: &Row) -> Result<Vec<u64>, String> {
        let (list, twin) = (self.cell(row, &self.list), self.cell(row, &self.twin));
        if list != twin {
            return Err(format!("row '{}' is torn: its list is {list:?}, the copy {twin:?}", row.key.escape_ascii()));
        }
        let text = String::from_utf8_lossy(list.map_or(&[][..], |l| l.as_ref())).into_owned();
        let token = |t: &str| t.parse().map_err(|_| format!("row '{}' has '{t}' in its list", row.key.escape_ascii()));
        text.split_whitespace().map(token).collect()
    }

    /// The register of a row; 0: none.
    #[must_use]
    pub fn register(&self, row: &Row) -> u64 {
        let bytes = self.cell(row, &self.register).and_then(|v| <[u8; 8]>::try_from(v.as_ref()).ok());
        bytes.map_or(0, u64::from_be_bytes)
    }

    /// The value of a row that is written once.
    #[must_use]
    pub fn value<'a>(&self, row: &'a Row) -> Option<&'a Bytes> {
        self.cell(row, &self.value)
    }
}

/// All rows, newest versions.
///
/// # Errors
/// As the cluster's.
pub async fn everything(cluster: &Arc<Cluster>, table: &Arc<Table>) -> Result<Vec<Row>> {
    let batches: Vec<Vec<Row>> = cluster.read(table, ReadSpec::default(), None).try_collect().await?;
    Ok(batches.concat())
}

/// One client of a gateway.
pub struct Client {
    world: Arc<World>,
    host: String,
    cluster: Arc<Cluster>,
    table: Arc<Table>,
    columns: Columns,
    random: StdRng,
    /// Registers as last seen.
    known: BTreeMap<Bytes, u64>,
}

impl Client {
    /// The client of this seed.
    ///
    /// # Errors
    /// `NotFound` if the gateway does not see the table.
    pub fn new(world: &Arc<World>, host: &str, cluster: &Arc<Cluster>, seed: u64) -> Result<Self> {
        let table = cluster.table(TABLE)?;
        Ok(Self {
            world: world.clone(),
            host: host.into(),
            cluster: cluster.clone(),
            columns: Columns::of(&table)?,
            table,
            random: StdRng::seed_from_u64(seed),
            known: BTreeMap::new(),
        })
    }

    /// Goes on while the run does.
    pub async fn run(mut self) {
        while self.world.stage() == Stage::Run {
            let row = Bytes::from_static(SHARED_ROWS[self.random.random_range(0..SHARED_ROWS.len())].as_bytes());
            match self.random.random_range(0..20) {
                0..6 => self.append(row).await,
                6..10 => self.swap(row).await,
                10..14 => self.read(row).await,
                14..19 => self.put().await,
                _ => self.scan().await,
            }
            let pause = self.random.random_range(1..100);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.world.trace.note(&self.host, what);
    }

    async fn append(&mut self, key: Bytes) {
        let token = self.world.unique.fetch_add(1, Ordering::Relaxed);
        let rule = |qualifier: &Bytes| {
            let modify = Modify::Append(format!("{token} ").into());
            ModifyRule { family: self.columns.family, qualifier: qualifier.clone(), modify }
        };
        let rules = vec![rule(&self.columns.list), rule(&self.columns.twin)];
        let wanted = Conditional::Modify(ReadModifyWrite { key: key.clone(), rules, timestamp: None });
        let (sent, number) = (now(), self.world.witness.asked(&key, Op::Append(token)));
        let done = self.cluster.write_conditionally(&self.table, &wanted).await;
        self.note(format_args!("append {token}: {done:?}"));
        let Ok(done) = done else { return };
        let (Some(row), Some(seq)) = (done.row, done.seq) else {
            return self.world.witness.wrong(format!("append of {token} was answered without row or seq"));
        };
        match self.columns.list(&row.into()) {
            Ok(list) => {
                self.ack(&key, seq, sent, Some(list.len()));
                self.world.witness.answered(&key, number, Answer::Appended(list));
            }
            Err(e) => self.world.witness.wrong(e),
        }
    }

    async fn swap(&mut self, key: Bytes) {
        let (from, to) = (self.known.get(&key).copied().unwrap_or(0), self.world.unique.fetch_add(1, Ordering::Relaxed));
        let (family, register) = (self.columns.family, &self.columns.register);
        let has = |value| Predicate::Cell(CellTest::newest(family, register.clone(), value));
        let bytes = |n: u64| Bytes::copy_from_slice(&n.to_be_bytes());
        let predicate = if from == 0 { Predicate::Not(Box::new(has(ValueTest::Any))) } else { has(ValueTest::equals(bytes(from))) };
        let then = vec![Mutation::Set { family, qualifier: register.clone(), timestamp: None, value: bytes(to) }];
        let wanted = Conditional::Check(CheckAndMutate { key: key.clone(), predicate, then, otherwise: Vec::new() });
        let (sent, number) = (now(), self.world.witness.asked(&key, Op::Swap(from, to)));
        let done = self.cluster.write_conditionally(&self.table, &wanted).await;
        self.note(format_args!("swap {from} for {to}: {done:?}"));
        let Ok(done) = done else { return };
        self.world.witness.answered(&key, number, Answer::Swapped(done.matched));
        if let Some(seq) = done.seq {
            self.ack(&key, seq, sent, None);
            self.known.insert(key, to);
        }
    }

    async fn read(&mut self, key: Bytes) {
        let number = self.world.witness.asked(&key, Op::Read);
        let rows: Result<Vec<Vec<Row>>> = self.cluster.read(&self.table, ReadSpec::row(&key), None).try_collect().await;
        let rows = match rows {
            Ok(rows) => rows.concat(),
            Err(e) => return self.note(format_args!("read: {e}")),
        };
        let seen = match rows.as_slice() {
            [] => Ok((Vec::new(), 0)),
            [row] => self.columns.list(row).map(|list| (list, self.columns.register(row))),
            more => Err(format!("a read of one row gave {}", more.len())),
        };
        self.note(format_args!("read: {seen:?}"));
        match seen {
            Ok((list, register)) => {
                self.known.insert(key.clone(), register);
                self.world.witness.answered(&key, number, Answer::Seen(list, register));
            }
            Err(e) => self.world.witness.wrong(e),
        }
    }

    async fn put(&mut self) {
        let count = self.random.random_range(1..=BATCH);
        let rows: Vec<(Bytes, Bytes)> = (0..count)
            .map(|_| {
                let (letter, token) = (self.random.random_range(0..LETTERS.len()), self.world.unique.fetch_add(1, Ordering::Relaxed));
                let filler = "x".repeat(self.random.random_range(0..VALUE_BYTES));
                (format!("{}/{token}", LETTERS[letter] as char).into(), format!("{token} {filler}").into())
            })
            .collect();
        let set = |value: &Bytes| Mutation::Set {
            family: self.columns.family,
            qualifier: self.columns.value.clone(),
            timestamp: None,
            value: value.clone(),
        };
        let batch = rows.iter().map(|(key, value)| RowMutation { key: key.clone(), mutations: vec![set(value)] }).collect();
        let sent = now();
        self.world.witness.seen().puts.extend(rows.iter().map(|(k, v)| (k.clone(), Put { value: v.clone(), acked: None })));
        let done = self.cluster.write(&self.table, batch).await;
        self.note(format_args!("put {count}: {done:?}"));
        for ((key, _), result) in rows.iter().zip(done.unwrap_or_default()) {
            let Ok(committed) = result else { continue };
            self.ack(key, committed.seq.0, sent, None);
            if let Some(put) = self.world.witness.seen().puts.get_mut(key) {
                put.acked = Some(now());
            }
        }
    }

    /// What was acknowledged before a scan begins must be in it.
    async fn scan(&mut self) {
        let acked: Vec<Bytes> =
            self.world.witness.seen().puts.iter().filter(|(_, put)| put.acked.is_some()).map(|(key, _)| key.clone()).collect();
        let begun = now();
        let rows = match everything(&self.cluster, &self.table).await {
            Ok(rows) => rows,
            Err(e) => return self.note(format_args!("scan: {e}")),
        };
        self.note(format_args!("scan: {} rows", rows.len()));
        let mut last: Option<&Bytes> = None;
        for row in &rows {
            if last.is_some_and(|last| *last >= row.key) {
                self.world.witness.wrong(format!("a scan gave row '{}' behind {last:?}", row.key.escape_ascii()));
            }
            last = Some(&row.key);
        }
        let there: std::collections::BTreeSet<&Bytes> = rows.iter().map(|row| &row.key).collect();
        for key in acked.iter().filter(|key| !there.contains(key)) {
            let key = key.escape_ascii();
            self.world.witness.wrong(format!("the scan of {begun:?} lacks row '{key}', which was acknowledged before"));
        }
    }

    fn ack(&self, key: &Bytes, seq: u64, sent: Duration, length: Option<usize>) {
        self.world.witness.seen().acks.push(Ack { key: key.clone(), seq, sent, answered: now(), length });
    }
}
