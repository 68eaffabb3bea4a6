use super::super::{Runner, Status, api};
use crate::cluster::Cluster;
use crate::sql::Sql;
use common::catalog::RunRecord;
use common::config::{LogKind, MasterConfig, TabletServerConfig};
use common::ids::{RunId, Seq};
use common::row::{Mutation, RowMutation};
use common::rpc::master::Command;
use common::schema::{ColumnSpec, DATA_FAMILY, KeyPartSpec, Table, TableSpec};
use common::time::{Micros, SystemClock};
use common::value::{Value, ValueType};
use datafusion::arrow::util::display::array_value_to_string;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A test that waits longer than this for something has failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);
pub(super) const HOUR: i64 = 3_600_000_000;
/// 2026-01-01, where all events of tests begin.
pub(super) const BEGIN: i64 = 1_767_225_600_000_000;

/// Counts events by day: `test.counts(day, events)`.
pub(super) const COUNTS: &str = r#"
name: test.counts
strategy: replace
window: {every: day}
time_column: day
key: {partition: [day], unique: [day]}
sql: select at::date as day, count(*) as events from raw.events group by 1
"#;

/// An event at the begin of each of so many days.
pub(super) fn days(n: i64) -> Vec<Event> {
    (0..n).map(|day| (format!("u{}", day % 3), day * 24, day, day % 3)).collect()
}

/// A cluster of one with a table `raw.events(user, at, id, n)` and a runner.
pub(super) struct World {
    pub(super) cluster: Arc<Cluster>,
    pub(super) sql: Arc<Sql>,
    pub(super) events: Arc<Table>,
    users: Arc<Table>,
    pub(super) runner: Option<Arc<Runner>>,
    _tabletserver: tabletserver::TabletServer,
    _master: master::Master,
    _dir: TempDir,
}

/// An event: user, hours since [`BEGIN`], number, value.
pub(super) type Event = (String, i64, i64, i64);

impl World {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let folder = |name: &str| dir.path().join(name);
        let store = folder("bucket").display().to_string();
        let clock = SystemClock::shared();
        let config = MasterConfig::new(listen, folder("master"), store.clone());
        let master = master::Master::start(config, clock.clone()).await.unwrap();
        let masters = vec![master.local_addr().to_string()];
        let config = TabletServerConfig {
            listen,
            advertise: None,
            data_dir: folder("server"),
            store,
            masters: masters.clone(),
            memtable_bytes: 16 << 20,
            log: LogKind::Disk,
            cache_bytes: 64 << 20,
            disk_cache_bytes: None,
        };
        let tabletserver = tabletserver::TabletServer::start(config, clock.clone()).await.unwrap();
        let cluster = Cluster::connect(&masters, clock).await.unwrap();
        let sql = Sql::new(cluster.clone()).unwrap();
        cluster.submit(Command::CreateTable { spec: events_spec() }).await.unwrap();
        let events = cluster.table("raw.events").unwrap();
        cluster.submit(Command::CreateTable { spec: users() }).await.unwrap();
        let users = cluster.table("raw.users").unwrap();
        cluster
            .submit(Command::CreateTable { spec: TableSpec { append_only: true, name: "raw.log".into(), ..events_spec() } })
            .await
            .unwrap();
        let runner = Some(Runner::start(cluster.clone(), sql.clone(), "test".into()));
        Self { cluster, sql, events, users, runner, _tabletserver: tabletserver, _master: master, _dir: dir }
    }

    pub(super) fn runner(&self) -> &Arc<Runner> {
        self.runner.as_ref().unwrap()
    }

    pub(super) async fn apply(&self, files: &[(&str, &str)]) {
        let files: BTreeMap<String, String> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        api::apply(&self.cluster, &self.sql, &api::Order { files, ..api::Order::default() }).await.unwrap();
    }

    /// Writes events into another table of the same columns.
    pub(super) async fn put_into(&self, table: &str, events: &[Event]) {
        let table = self.cluster.table(table).unwrap();
        for result in self.cluster.write(&table, events.iter().map(|e| self.row(e)).collect()).await.unwrap() {
            result.unwrap();
        }
    }

    pub(super) async fn put(&self, events: &[Event]) {
        let rows = events.iter().map(|e| self.row(e)).collect();
        for result in self.cluster.write(&self.events, rows).await.unwrap() {
            result.unwrap();
        }
    }

    pub(super) async fn delete(&self, events: &[Event]) {
        let rows = events.iter().map(|e| RowMutation { key: self.row(e).key, mutations: vec![Mutation::DeleteRow] }).collect();
        for result in self.cluster.write(&self.events, rows).await.unwrap() {
            result.unwrap();
        }
    }

    /// All runs that have ended, from `system.runs`.
    pub(super) async fn runs(&self) -> Vec<RunRecord> {
        let moved = async {
            loop {
                let catalog = self.cluster.catalog();
                if catalog.run_records.is_empty() {
                    return;
                }
                self.cluster.catalog_after(catalog.version).await;
            }
        };
        tokio::time::timeout(DEADLINE, moved).await.unwrap();
        let columns = ["run", "table_name", "status", "reason", "path", "version", "fingerprint", "windows", "inputs"];
        let context = self.sql.context(HashMap::new()).unwrap();
        let sql = format!("select {} from system.runs order by run", columns.join(", "));
        let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
        let one = |b: &arrow::array::RecordBatch, row: usize| {
            let text = |at: usize| array_value_to_string(b.column(at), row).unwrap();
            let windows: Vec<(Option<String>, Option<String>)> = serde_json::from_str(&text(7)).unwrap();
            let end = |t: Option<String>, open: Micros| t.map_or(open, |t| Micros::parse(&t).unwrap());
            RunRecord {
                run: RunId(text(0).parse().unwrap()),
                table: text(1),
                status: text(2),
                reason: text(3),
                path: text(4),
                version: Seq(text(5).parse().unwrap()),
                fingerprint: text(6),
                windows: windows.into_iter().map(|(s, e)| (end(s, Micros::MIN), end(e, Micros::MAX))).collect(),
                inputs: serde_json::from_str(&text(8)).unwrap(),
                ..RunRecord::default()
            }
        };
        batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| one(b, row)).collect::<Vec<_>>()).collect()
    }

    /// Events are complete up to this hour.
    pub(super) async fn complete_until(&self, hour: i64) {
        let at = Micros(BEGIN + hour * HOUR);
        self.cluster.submit(Command::SetWatermark { name: "raw.events".into(), at }).await.unwrap();
    }

    /// Puts users in their countries; `None` deletes them.
    pub(super) async fn put_users(&self, users: &[(String, Option<String>)]) {
        let column = self.users.column("country").unwrap();
        let row = |(user, country): &(String, Option<String>)| {
            let key = self.users.key_schema().encode(&[Some(Value::String(user.clone()))]).unwrap();
            let mutation = match country {
                None => Mutation::DeleteRow,
                Some(country) => {
                    let value = Value::String(country.clone()).to_cell();
                    Mutation::Set { family: column.family, qualifier: column.stored(), timestamp: None, value }
                }
            };
            RowMutation { key, mutations: vec![mutation] }
        };
        for result in self.cluster.write(&self.users, users.iter().map(row).collect()).await.unwrap() {
            result.unwrap();
        }
    }

    fn row(&self, (user, hour, id, n): &Event) -> RowMutation {
        let at = Micros(BEGIN + hour * HOUR);
        let parts = [Some(Value::String(user.clone())), Some(Value::Timestamp(at)), Some(Value::Int64(*id))];
        let column = self.events.column("n").unwrap();
        let value = Value::Int64(*n).to_cell();
        let set = Mutation::Set { family: column.family, qualifier: column.stored(), timestamp: Some(at), value };
        RowMutation { key: self.events.key_schema().encode(&parts).unwrap(), mutations: vec![set] }
    }

    /// Waits until nothing goes on by itself any more.
    pub(super) async fn settled(&self) -> Arc<Status> {
        let status = self.runner().settled(DEADLINE).await;
        assert!(status.settled, "not settled: {status:#?}");
        status
    }

    /// Waits until everything is fresh.
    pub(super) async fn fresh(&self) {
        let status = self.settled().await;
        assert!(status.fresh, "not fresh: {status:#?}");
    }

    /// The rows of a query as text, sorted.
    pub(super) async fn rows(&self, sql: &str) -> Vec<String> {
        let context = self.sql.context(HashMap::new()).unwrap();
        let batches = context.sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).collect().await.unwrap();
        let row = |batch: &arrow::array::RecordBatch, row: usize| {
            let values: Vec<_> = batch.columns().iter().map(|c| array_value_to_string(c, row).unwrap()).collect();
            values.join(" | ")
        };
        let mut rows: Vec<_> = batches.iter().flat_map(|b| (0..b.num_rows()).map(|i| row(b, i))).collect();
        rows.sort();
        rows
    }

    pub(super) fn version(&self, table: &str) -> u64 {
        let id = self.cluster.table(table).unwrap().id;
        self.cluster.catalog().published(id).map_or(0, |p| p.version.0)
    }
}

fn events_spec() -> TableSpec {
    let part = |name: &str, ty, descending| KeyPartSpec { name: name.into(), ty, descending, nullable: false, hidden: false };
    TableSpec {
        key: vec![part("user", ValueType::String, false), part("at", ValueType::Timestamp, true), part("id", ValueType::Int64, false)],
        columns: vec![ColumnSpec { name: "n".into(), ty: ValueType::Int64, family: DATA_FAMILY.into(), qualifier: None }],
        time_column: Some("at".into()),
        undeclared: Some("none".into()),
        ..TableSpec::named("raw.events")
    }
}

fn users() -> TableSpec {
    TableSpec {
        key: vec![KeyPartSpec { name: "user".into(), ty: ValueType::String, descending: false, nullable: false, hidden: false }],
        columns: vec![ColumnSpec { name: "country".into(), ty: ValueType::String, family: DATA_FAMILY.into(), qualifier: None }],
        undeclared: Some("none".into()),
        ..TableSpec::named("raw.users")
    }
}
