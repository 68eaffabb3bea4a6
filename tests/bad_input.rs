//! Bad input: a clear error with what and where, nothing half applied, an exit code that is not 0.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use std::fs;
use std::path::PathBuf;
use support::{Cluster, Finished};
use tempfile::TempDir;

const EVENTS: &str = "
name: raw.events
key: [user_id: string, at: timestamp desc, event_id: string]
columns: {event_type: string, price: float64, level: int64}
time_column: at
lateness: 1h
";

/// A cluster with one table, and a folder for files.
struct Bad {
    cluster: Cluster,
    files: TempDir,
}

impl Bad {
    fn new() -> Self {
        let bad = Self { cluster: Cluster::up(), files: tempfile::tempdir().unwrap() };
        bad.run(&["table", "create", &bad.file("events.yaml", EVENTS)]).ok();
        bad
    }

    /// Writes a file and gives its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.cluster.stele(arguments))
    }

    /// A folder of definitions, by name of the case.
    fn definitions(&self, case: &str, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            self.file(&format!("{case}/{name}"), text);
        }
        self.files.path().join(case).display().to_string()
    }

    fn tables(&self) -> Vec<String> {
        let tables = self.cluster.http().get("/v1/tables");
        tables["tables"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn definition(name: &str, sql: &str) -> String {
    format!("name: {name}\nstrategy: replace\nkey: {{partition: [user_id], unique: [user_id]}}\nsql: |\n  {sql}\n")
}

#[test]
fn a_malformed_line_is_named_and_the_good_rows_are_stored() {
    let bad = Bad::new();
    let good = r#"{"user_id":"u1","at":"2026-01-15T10:00:00Z","event_id":"e1","price":1.5,"other":{"a":1}}"#;
    let lines = [
        good,
        r#"{"user_id":"u1","at":"#,
        r#"{"user_id":"u1","at":"yesterday","event_id":"e3"}"#,
        r#"{"at":"2026-01-15T10:00:00Z","event_id":"e4"}"#,
        r#"{"user_id":"u1","at":"2026-01-15T10:00:00Z","event_id":"e5","level":"high"}"#,
        "[1]",
    ];
    let path = bad.file("events.ndjson", &lines.join("\n"));
    let done = bad.run(&["ingest", "raw.events", &path]);
    let at = |line: u32| format!("{path}:{line}: ");
    done.fails_with(&[&at(2), &at(3), "yesterday", &at(4), "user_id", &at(5), "level", &at(6)]);
    assert!(done.out.contains("1 row stored, 5 rows failed"), "{}", done.out);
    assert_eq!(bad.cluster.http().number("select count(*) from raw.events"), 1);
}

#[test]
fn a_csv_field_of_another_type_is_named_with_its_line() {
    let bad = Bad::new();
    let path = bad.file(
        "events.csv",
        "user_id,at,event_id,level\nu1,2026-01-15,e1,NA\nu2,2026-01-15,e2,seven\nu3,2026-01-15,e3\nu4,2026-01-15,e4,\nu5,2026-01-15,e5,5\n",
    );
    let done = bad.run(&["ingest", "raw.events", &path, "--null", "NA"]);
    done.fails_with(&[&format!("{path}:3: "), "seven", &format!("{path}:4: ")]);
    let rows = bad.cluster.http().sql("select user_id, level from raw.events order by user_id");
    assert_eq!(serde_json::json!(rows).as_array().unwrap().len(), 3);
    assert_eq!((rows[0]["level"].as_i64(), rows[2]["level"].as_i64()), (None, Some(5)));
}

#[test]
fn unknown_names_and_bad_times_are_refused() {
    let bad = Bad::new();
    bad.run(&["ingest", "raw.evnts", &bad.file("x.ndjson", "{}")]).fails_with(&["raw.evnts"]);
    bad.run(&["ingest", "raw.events", "/no/such/file"]).fails_with(&["/no/such/file"]);
    bad.run(&["ingest", "raw.events", "--complete-until", "soon"]).fails_with(&["soon"]);
    bad.run(&["table", "get", "raw.evnts"]).fails_with(&["raw.evnts"]);
    bad.run(&["table", "delete", "raw.evnts"]).fails_with(&["raw.evnts"]);
    bad.run(&["rows", "get", "raw.events", "user_id=u1", "from=yesterday"]).fails_with(&["yesterday"]);
    bad.run(&["rows", "get", "raw.events", "usr_id=u1"]).fails_with(&["usr_id"]);
    bad.run(&["rows", "get", "raw.events", "user_id=u1", "columns=pric"]).fails_with(&["pric"]);
    bad.run(&["sql", "select * from raw.evnts"]).fails_with(&["evnts"]);
    bad.run(&["sql", "select pric from raw.events"]).fails_with(&["pric"]);
    bad.run(&["sql", "selec 1"]).fails_with(&["selec"]);
    bad.run(&["derived", "status", "game.none"]).fails_with(&["game.none"]);
}

#[test]
fn a_wrong_spec_creates_nothing() {
    let bad = Bad::new();
    let fine = bad.file("fine.yaml", "name: raw.fine\nkey: [id: string]\n");
    let unknown = bad.file("unknown.yaml", "name: raw.unknown\ncolums: {a: string}\n");
    bad.run(&["table", "create", &fine, &unknown]).fails_with(&["unknown.yaml", "colums"]);
    let typed = bad.file("typed.yaml", "name: raw.typed\nkey: [id: strng]\n");
    bad.run(&["table", "create", &typed]).fails_with(&["typed.yaml", "strng"]);
    let other = bad.file("other.yaml", "name: raw.events\nkey: [id: string]\n");
    bad.run(&["table", "create", &other]).fails_with(&["raw.events"]);
    assert!(!bad.tables().iter().any(|t| ["raw.fine", "raw.unknown", "raw.typed"].contains(&t.as_str())));
    // The same spec again is no mistake.
    bad.run(&["table", "create", &bad.file("events.yaml", EVENTS)]).ok();
}

#[test]
fn an_oversized_value_is_refused_and_its_neighbours_are_stored() {
    let bad = Bad::new();
    let row = |id: &str, user: &str| format!(r#"{{"user_id":"{user}","at":"2026-01-15","event_id":"{id}"}}"#);
    let lines = [row("e1", "u1"), row("e2", &"x".repeat(5_000)), row("e3", "u1")].join("\n");
    let path = bad.file("big.ndjson", &lines);
    bad.run(&["ingest", "raw.events", &path]).fails_with(&[&format!("{path}:2: "), "4096"]);
    assert_eq!(bad.cluster.http().number("select count(*) from raw.events"), 2);
}

#[test]
fn one_wrong_definition_applies_none() {
    let bad = Bad::new();
    let fine = definition("game.fine", "select user_id, count(*) as n from raw.events group by 1");
    let twice = fine.replace("strategy", "description: again\nstrategy");
    let cases: [(&str, &str, &[&str]); 5] = [
        ("unknown_key", "name: game.bad\nstrateg: replace\n", &["bad.yaml", "strateg"]),
        ("unknown_table", &definition("game.bad", "select user_id from raw.evnts"), &["bad.yaml", "evnts"]),
        ("unknown_column", &definition("game.bad", "select user_id, pric from raw.events"), &["bad.yaml", "pric"]),
        ("twice", &twice, &["game.fine", "bad.yaml"]),
        ("broken_sql", &definition("game.bad", "selec user_id from raw.events"), &["bad.yaml", "selec"]),
    ];
    for (case, text, words) in cases {
        let folder = bad.definitions(case, &[("fine.yaml", &fine), ("bad.yaml", text)]);
        for verb in ["validate", "apply"] {
            bad.run(&["derived", verb, &folder]).fails_with(words);
        }
    }
    let (a, b) = (definition("game.a", "select user_id from game.b"), definition("game.b", "select user_id from game.a"));
    let folder = bad.definitions("cycle", &[("fine.yaml", &fine), ("a.yaml", &a), ("b.yaml", &b)]);
    for verb in ["validate", "apply"] {
        bad.run(&["derived", verb, &folder]).fails_with(&["circle", "game.a", "game.b"]);
    }
    assert!(bad.tables().iter().all(|t| !t.starts_with("game.")), "{:?}", bad.tables());
}

#[test]
fn a_derived_table_takes_no_rows() {
    let bad = Bad::new();
    let fine = definition("game.fine", "select user_id, count(*) as n from raw.events group by 1");
    let folder = bad.definitions("fine", &[("fine.yaml", &fine)]);
    bad.run(&["derived", "apply", &folder]).ok();
    let path = bad.file("rows.ndjson", r#"{"user_id":"u1","n":1}"#);
    bad.run(&["ingest", "game.fine", &path]).fails_with(&["game.fine"]);
}

#[test]
fn what_needs_no_cluster_fails_without_one() {
    let run = |arguments: &[&str]| Finished::of(support::stele().args(arguments));
    run(&["sql", "--url", "http://127.0.0.1:1", "select 1"]).fails_with(&["127.0.0.1:1", "stele up"]);
    run(&["sql", "--url", "localhost", "select 1"]).fails_with(&["localhost", "http://"]);
    run(&["master", "--listen", "127.0.0.1:0"]).fails_with(&["STELE_"]);
    run(&["gateway", "--config", "/no/such/file"]).fails_with(&["/no/such/file"]);
    let dir = tempfile::tempdir().unwrap();
    let config: PathBuf = dir.path().join("gateway.yaml");
    fs::write(&config, "masters: [\"127.0.0.1:1\"]\nmaster: x\n").unwrap();
    run(&["gateway", "--config", &config.display().to_string()]).fails_with(&["gateway.yaml", "master"]);
    run(&["nonsense"]).fails_with(&["nonsense"]);
}

#[test]
fn a_damaged_object_is_told_by_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../storage/testdata");
    let cases: [(&str, &str, &[&str]); 4] = [
        ("sstable", "sstable-v3", &["tablets/9/sst/", "21 rows", "cell"]),
        ("manifest", "manifest-v4", &["9 of table 5", "tablets/9/sst/"]),
        ("log", "log-segment-v2", &["10 records in 1 group commit", "write of 1 row"]),
        ("log", "log-object-v1", &["object, put", "3 records"]),
    ];
    for (kind, name, words) in cases {
        let whole = fs::read(data.join(name)).unwrap();
        let copy = dir.path().join(name);
        let run = || Finished::of(support::stele().args(["inspect", kind, "--all"]).arg(&copy));
        fs::write(&copy, &whole).unwrap();
        let out = run().ok();
        assert!(words.iter().all(|word| out.contains(word)), "{out}");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 4;
        fs::write(&copy, flipped).unwrap();
        run().fails_with(&[name, "at offset"]);
        // A segment that is cut has a torn tail: it is printed, and told.
        fs::write(&copy, &whole[..whole.len() - 1]).unwrap();
        let torn = run();
        torn.fails_with(&[name, "at offset"]);
        assert_eq!(torn.out.contains("10 records"), name == "log-segment-v2", "{}", torn.out);
        run().fails_with(if kind == "log" && name == "log-segment-v2" { &["torn tail"] } else { &["damaged"] });
    }
    let run = |arguments: &[&str]| Finished::of(support::stele().args(arguments));
    run(&["inspect", "log", "/no/such/file"]).fails_with(&["/no/such/file"]);
    run(&["inspect", "sstable", &data.join("manifest-v4").display().to_string()]).fails_with(&["at offset", "no SSTable"]);
}
