//! Definitions change while tables serve, tables lose what they hold, and rows of several tables are read at once: as users do it.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::{Cluster, Finished, Role, stele, wait_for};

const EVENTS: &str = "name: raw.events
key: [{user_id: string}, {at: timestamp}]
columns: {cents: int64}
time_column: at
";
const DAILY: &str = "name: app.daily
window: {every: day}
time_column: day
key: {partition: [user_id], cluster: [day], unique: [user_id, day]}
sql: |
  select user_id, at::date as day, count(*) as events from raw.events group by 1, 2
";
const TOTALS: &str = "name: app.totals
key: {partition: [user_id], unique: [user_id]}
sql: select user_id, sum(events) as events from app.daily group by 1
";

struct Project {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Project {
    /// A project of two tables that are fresh, of 300 events: 10 each of 30 pairs of a user and a day.
    fn served() -> Self {
        let project = Self { cluster: Cluster::up(), dir: tempfile::tempdir().unwrap() };
        for folder in ["sources", "derived"] {
            std::fs::create_dir(project.dir.path().join(folder)).unwrap();
        }
        project.write("sources/events.yaml", EVENTS);
        project.write("derived/daily.yaml", DAILY);
        project.write("derived/totals.yaml", TOTALS);
        assert!(project.derived(&["apply"]).ok().contains("raw.events: created"));
        let line = |i: u64| json!({ "user_id": format!("u{}", i % 10), "at": format!("2026-01-0{}T0{}:{:02}:00Z", 1 + i % 6, i / 60, i % 60), "cents": i });
        let lines: String = (0..300).map(|i| line(i).to_string() + "\n").collect();
        assert_eq!(project.cluster.http().ingest("raw.events", &lines).unwrap().1["rows"], 300);
        project.fresh();
        project
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.dir.path().join(path), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(stele().args(arguments).args(["--url", &self.cluster.url()]))
    }

    /// A command of `stele derived` on the project's folder.
    fn derived(&self, arguments: &[&str]) -> Finished {
        let mut command = stele();
        command.current_dir(self.dir.path()).arg("derived").args(arguments).args(["--url", &self.cluster.url()]);
        Finished::of(&mut command)
    }

    fn fresh(&self) {
        self.derived(&["status", "--wait"]).ok();
    }

    fn sql(&self, query: &str) -> String {
        self.run(&["sql", query]).ok()
    }
}

#[test]
fn a_plan_is_looked_at_applied_and_taken_back() {
    let project = Project::served();
    assert_eq!(project.derived(&["plan"]).code, Some(0), "nothing to do");
    project.write("derived/daily.yaml", &DAILY.replace("count(*) as events", "count(*) as events, sum(cents) as cents"));
    let plan = project.derived(&["plan", "--out", "plan.json"]);
    assert_eq!(plan.code, Some(2), "{plan:?}");
    for word in ["additive", "app.daily", "new: cents", "windows anew", "read by app.totals", "1 table unchanged"] {
        assert!(plan.out.contains(word), "no '{word}' in\n{}", plan.out);
    }
    let applied = project.derived(&["apply", "plan.json"]).ok();
    assert!(applied.contains("app.daily: rebuilt"), "{applied}");
    project.fresh();
    assert!(project.sql("select sum(cents) as c from app.daily").contains("44850"));
    // The plan is of definitions that are no more.
    project.derived(&["apply", "plan.json"]).fails_with(&["plan again"]);
    let kept = project.derived(&["env", "list"]).ok();
    assert!(kept.contains("undo"), "{kept}");
    project.derived(&["rollback"]).ok();
    project.fresh();
    project.run(&["sql", "select cents from app.daily"]).fails_with(&["cents"]);
    assert!(project.sql("select sum(events) as n from app.totals").contains("300"));
}

#[test]
fn what_others_would_miss_needs_consent() {
    let project = Project::served();
    std::fs::remove_file(project.dir.path().join("derived/totals.yaml")).unwrap();
    assert_eq!(project.derived(&["plan"]).code, Some(0), "what the folder does not have stays");
    project.derived(&["apply", "--prune"]).fails_with(&["removed", "app.totals", "--yes"]);
    assert!(project.sql("select count(*) as n from app.totals").contains("10"));
    project.derived(&["apply", "--prune", "--yes"]).ok();
    project.run(&["sql", "select * from app.totals"]).fails_with(&["app.totals"]);
    project.derived(&["rollback"]).ok();
    project.fresh();
    assert!(project.sql("select count(*) as n from app.totals").contains("10"));
}

#[test]
fn an_environment_is_tried_beside_production() {
    let project = Project::served();
    project.write("derived/daily.yaml", &DAILY.replace("count(*)", "count(*) * 2"));
    project.derived(&["apply", "--env", "Dev"]).fails_with(&["Dev", "lower case"]);
    project.derived(&["apply", "--env", "dev"]).ok();
    project.fresh();
    assert!(project.sql("select sum(events) as n from app__dev.totals").contains("600"));
    assert!(project.sql("select sum(events) as n from app.totals").contains("300"));
    project.derived(&["env", "show", "dev"]).ok();
    project.derived(&["promote", "dev"]).ok();
    project.fresh();
    assert!(project.sql("select sum(events) as n from app.totals").contains("600"));
    project.derived(&["env", "drop", "dev"]).fails_with(&["no environment 'dev'"]);
}

/// The SSTables of a table's tablets below a folder.
fn sstables(dir: &Path, tablets: &[u64]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if tablets.iter().any(|t| path.to_str().unwrap().contains(&format!("/tablets/{t}/sst"))) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_damaged_table_is_noticed_and_built_anew() {
    let mut project = Project::served();
    let sound = project.derived(&["verify"]);
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.out.contains("2 tables looked at") && sound.out.contains("30"), "{}", sound.out);
    let http = project.cluster.http();
    let tablets = http.get("/v1/admin/tablets?table=app.daily")["tablets"].as_array().unwrap().clone();
    let tablets: Vec<u64> = tablets.iter().map(|t| t["id"].as_u64().unwrap()).collect();
    // What it holds is in SSTables after a clean end.
    project.cluster.end(Role::TabletServer);
    let found = sstables(&project.cluster.dir(), &tablets);
    assert!(!found.is_empty());
    for path in found {
        let mut bytes = std::fs::read(&path).unwrap();
        // The first data block; index and footer lie behind.
        for byte in bytes.iter_mut().take(200) {
            *byte ^= 0x55;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    project.cluster.restart(Role::TabletServer);
    project.cluster.wait_ready();
    let broken = wait_for("the damage to show", || Some(project.derived(&["verify", "app.daily"])).filter(|f| f.code == Some(2)));
    assert!(broken.out.contains("unreadable") && broken.out.contains("/sst"), "{}", broken.out);
    project.run(&["sql", "select * from app.daily"]).fails_with(&["sst"]);
    let repaired = project.derived(&["verify", "app.daily", "--repair"]);
    assert!(repaired.code == Some(2) && repaired.out.contains("built anew"), "{repaired:?}");
    project.fresh();
    assert_eq!(project.derived(&["verify"]).code, Some(0));
    assert!(project.sql("select sum(events) as n from app.daily").contains("300"));
    assert!(project.sql("select sum(events) as n from app.totals").contains("300"));
}

#[test]
fn rows_of_several_tables_are_read_in_one_call() {
    let project = Project::served();
    let http = project.cluster.http();
    let reads = json!({ "reads": [
        { "table": "app.daily", "keys": [{ "user_id": "u1", "day": "2026-01-02" }, { "user_id": "nobody", "day": "2026-01-02" }, { "user_id": "u1", "day": "2026-01-02" }] },
        { "table": "app.totals", "keys": [{ "user_id": "u3" }], "columns": ["events"] },
        { "table": "raw.events", "keys": [] },
    ] });
    let (status, answer) = http.post("/v1/rows:batchGet", &reads).unwrap();
    assert_eq!(status, 200, "{answer}");
    let tables = answer["tables"].as_array().unwrap();
    assert_eq!(
        tables[0]["rows"],
        json!([{ "user_id": "u1", "day": "2026-01-02", "events": 10 }, Value::Null, { "user_id": "u1", "day": "2026-01-02", "events": 10 }])
    );
    assert_eq!(tables[1]["rows"], json!([{ "user_id": "u3", "events": 30 }]));
    assert!(tables.iter().all(|t| t["as_of"].as_str().unwrap().ends_with('Z')) && tables[0]["version"].as_u64().unwrap() > 0, "{answer}");
    let wrong = |reads: Value, words: &[&str]| {
        let (status, answer) = http.post("/v1/rows:batchGet", &json!({ "reads": reads })).unwrap();
        assert!(status == 400 || status == 404, "{answer}");
        words.iter().for_each(|word| assert!(answer["detail"].as_str().unwrap().contains(word), "{answer}"));
    };
    wrong(json!([{ "table": "app.daly", "keys": [] }]), &["app.daly", "app.daily"]);
    wrong(json!([{ "table": "app.daily", "keys": [{ "user_id": "u1" }] }]), &["app.daily", "key 0", "'day'"]);
    wrong(json!([{ "table": "app.totals", "keys": [{ "user_id": ["u1"] }] }]), &["key 0", "no key part"]);
}
