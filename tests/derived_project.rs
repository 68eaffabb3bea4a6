//! A project of derived tables on a developer's machine: the commands that need no cluster, run as a user would.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use support::{Cluster, DEADLINE, Finished, stele};
use tempfile::TempDir;

/// A folder with a project that `init` wrote.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        assert_eq!(project.run("init", &[]).code, Some(2), "files were written");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no '{from}':\n{text}");
        fs::write(self.path(name), text.replacen(from, to, 1)).unwrap();
    }

    /// `stele derived VERB … FOLDER`, with no gateway to be found.
    fn run(&self, verb: &str, more: &[&str]) -> Finished {
        let folder = self.folder.path().display().to_string();
        let on_table = ["show", "explain", "render", "lineage"].contains(&verb);
        let place = if on_table { vec!["--dir", &folder] } else { vec![folder.as_str()] };
        Finished::of(stele().args(["derived", verb]).args(more).args(place).env("STELE_URL", "http://127.0.0.1:9"))
    }

    fn json(&self, verb: &str, more: &[&str]) -> Value {
        let done = self.run(verb, &[more, &["--json"]].concat());
        serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{e}: {}{}", done.out, done.err))
    }

    fn names(&self, select: &str) -> Vec<String> {
        let found = self.json("list", &["--select", select]);
        found.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    }
}

const WEEKS: &str = "name: app.weeks
owner: ann
tags: [finance]
window: {every: week}
time_column: week
key: {partition: [week], unique: [week]}
sql: |
  select date_trunc('week', day)::date as week, sum(events) as events
  from app.daily_users
  group by 1
";

#[test]
fn a_new_project_validates_and_its_test_holds() {
    let project = Project::new();
    let out = project.run("validate", &[]).ok();
    assert!(out.contains("app.daily_users: valid"), "{}", out);
    let out = project.run("test", &[]).ok();
    assert!(out.contains("tests/daily_users.yaml: holds"), "{}", out);
    assert_eq!(project.run("lint", &[]).code, Some(0), "{}", project.run("lint", &[]).out);
    assert_eq!(project.run("fmt", &["--check"]).code, Some(0));
    assert_eq!(project.run("init", &[]).code, Some(1), "nothing is written over");
}

#[test]
fn what_is_wrong_is_told_by_file_line_and_column_with_what_was_meant() {
    let project = Project::new();
    project.edit("derived/daily_users.yaml", "time_column: day", "time_colum: day");
    project.run("validate", &[]).fails_with(&["derived/daily_users.yaml:12:1: ", "did you mean 'time_column'?"]);
    let found = project.json("validate", &[]);
    assert_eq!((&found["tables"][0]["problem"]["line"], &found["tables"][0]["state"]), (&12.into(), &"wrong".into()));
    project.edit("derived/daily_users.yaml", "time_colum: day", "time_column: day");
    project.edit("derived/daily_users.yaml", "range: {min: 1}", "rnge: {min: 1}");
    project.run("validate", &[]).fails_with(&["derived/daily_users.yaml:9:", "did you mean 'range'?"]);
    project.edit("derived/daily_users.yaml", "rnge: {min: 1}", "range: {min: one}");
    project.run("validate", &[]).fails_with(&["derived/daily_users.yaml:5:1: ", "'one'"]);
    project.edit("derived/daily_users.yaml", "range: {min: one}", "range: {min: 1}");
    project.edit("sources/events.yaml", "lateness: 1h", "latenes: 1h");
    project.run("validate", &[]).fails_with(&["sources/events.yaml:11:1: ", "did you mean 'lateness'?"]);
}

#[test]
fn one_wrong_definition_leaves_the_others_valid() {
    let project = Project::new();
    project.write("derived/weeks.yaml", WEEKS);
    project.write("derived/other.yaml", "name: app.other\nkey: {partition: [user_id]}\nsql: select user_id from raw.events\n");
    project.edit("derived/daily_users.yaml", "select e.user_id", "selec e.user_id");
    let done = project.run("validate", &[]);
    done.fails_with(&["derived/daily_users.yaml:15"]);
    assert!(done.out.contains("app.other: valid") && done.out.contains("app.weeks: blocked by app.daily_users"), "{}", done.out);
    project.run("validate", &["--select", "app.other"]).ok();
}

#[test]
fn tables_are_listed_and_chosen() {
    let project = Project::new();
    project.write("derived/weeks.yaml", WEEKS);
    assert_eq!(project.names("*"), ["raw.events", "seeds.countries", "app.daily_users", "app.weeks"]);
    assert_eq!(project.names("raw.events+"), ["raw.events", "app.daily_users", "app.weeks"]);
    assert_eq!(project.names("+tag:finance"), ["raw.events", "seeds.countries", "app.daily_users", "app.weeks"]);
    assert_eq!(project.names("owner:ann, path:seeds"), ["seeds.countries", "app.weeks"]);
    project.run("list", &["--select", "app.week"]).fails_with(&["did you mean 'app.weeks'?"]);
    let shown = project.json("show", &["app.daily_users"]);
    assert_eq!(shown["columns"][3]["tests"], Value::Null);
    assert_eq!(shown["columns"][2]["from"], serde_json::json!(["seeds.countries.name"]));
    assert_eq!(shown["inputs"], serde_json::json!(["raw.events", "seeds.countries"]));
    project.run("show", &["app.daily_user"]).fails_with(&["app.daily_users"]);
    let explained = project.run("explain", &["app.weeks"]);
    assert!(explained.out.contains("every week in UTC by week"), "{}", explained.out);
}

#[test]
fn sql_is_rendered_with_its_window() {
    let project = Project::new();
    let out = project.run("render", &["app.daily_users", "--window", "2026-01-15"]).ok();
    assert!(out.contains("'2026-01-15', 'Date32'") && out.contains("'2026-01-16', 'Date32'"), "{}", out);
    project.run("render", &["app.daily_users", "--window", "2026-01-15T05:00:00Z"]).fails_with(&["no window of"]);
}

#[test]
fn columns_are_followed_up_and_down() {
    let project = Project::new();
    project.write("derived/weeks.yaml", WEEKS);
    let up = project.run("lineage", &["app.weeks", "--column", "week"]);
    assert!(up.out.contains("← app.daily_users.day") && up.out.contains("← raw.events.at"), "{}", up.out);
    let down = project.json("lineage", &["raw.events", "--column", "at", "--down"]);
    let edges = down["edges"].as_array().unwrap();
    assert!(edges.iter().any(|e| e["from"] == "app.daily_users.day" && e["to"] == "app.weeks.week"), "{down}");
    project.run("lineage", &["app.weeks", "--column", "wek"]).fails_with(&["week, events"]);
}

#[test]
fn a_personal_column_cannot_reach_an_output_unseen() {
    let project = Project::new();
    project.edit("sources/events.yaml", "user_id: {description: who}", "user_id: {description: who, tags: [personal]}");
    project.run("validate", &[]).fails_with(&["raw.events.user_id → app.daily_users.user_id", "personal"]);
    project.edit("derived/daily_users.yaml", "user_id: {description: who,", "user_id: {description: who, tags: [personal],");
    project.run("validate", &[]).ok();
}

#[test]
fn a_test_that_does_not_hold_shows_which_rows_differ() {
    let project = Project::new();
    project.edit("tests/daily_users.yaml", "country: France, events: 2", "country: France, events: 3");
    project.edit("tests/daily_users.yaml", "  - {user_id: bob, day: 2026-01-15, country: null, events: 1}\n", "");
    let done = project.run("test", &[]);
    done.fails_with(&["1 of 1 tests do not hold"]);
    assert!(done.out.contains("~ day: \"2026-01-15\", user_id: \"ann\": events: 3 → 2"), "{}", done.out);
    assert!(done.out.contains("+ day: \"2026-01-15\", events: 1, user_id: \"bob\""), "{}", done.out);
    project.edit("tests/daily_users.yaml", "expect:", "expected:");
    project.run("test", &[]).fails_with(&["tests/daily_users.yaml:13:1: ", "did you mean 'expect'?"]);
}

#[test]
fn bounds_that_are_too_narrow_are_found() {
    let project = Project::new();
    project.write(
        "derived/rolling.yaml",
        "name: app.rolling\nwindow: {every: day}\ntime_column: day\nkey: {partition: [day], unique: [day]}\ninputs: {app.daily_users: {back: 1d}}\nsql: |\n  select a.day, sum(b.events) as events\n  from (select distinct day from app.daily_users) a\n  join app.daily_users b on b.day <= a.day and b.day > a.day - interval '3 days'\n  group by 1\n",
    );
    let rows =
        |days: std::ops::Range<u32>| days.map(|d| format!("    - {{user_id: u, day: 2026-01-{d:02}, events: 1}}\n")).collect::<String>();
    project.write(
        "tests/rolling.yaml",
        &format!("table: app.rolling\nwindow: {{start: 2026-01-12}}\ninputs:\n  app.daily_users:\n{}expect: []\n", rows(10..14)),
    );
    let done = project.run("test", &["--bounds", "--select", "app.rolling"]);
    assert_eq!(done.code, Some(1), "{}{}", done.out, done.err);
    assert!(done.out.contains("events: 3 → 2") && done.out.contains("declared: from 1d before"), "{}", done.out);
    project.edit("derived/rolling.yaml", "back: 1d", "back: 2d");
    project.run("test", &["--bounds", "--select", "app.rolling"]).ok();
}

#[test]
fn layout_is_one_and_meaning_stays() {
    let project = Project::new();
    project.write("derived/a.yaml", "# why\nsql: |\n  SELECT user_id\n  FROM raw.events\nname: app.a\nkey: {partition: [user_id]}\n");
    let before = project.json("show", &["app.a"])["fingerprint"].clone();
    assert_eq!(project.run("fmt", &["--check"]).code, Some(2));
    let done = project.run("fmt", &[]);
    assert_eq!((done.code, done.out.trim()), (Some(2), "derived/a.yaml"));
    assert_eq!(
        fs::read_to_string(project.path("derived/a.yaml")).unwrap(),
        "# why\nname: app.a\nkey: {partition: [user_id]}\nsql: |\n  select user_id\n  from raw.events\n"
    );
    assert_eq!(project.json("show", &["app.a"])["fingerprint"], before);
    assert_eq!(project.run("fmt", &[]).code, Some(0));
    let found = project.run("lint", &[]);
    assert_eq!(found.code, Some(2));
    assert!(found.out.contains("derived/a.yaml: it has no owner"), "{}", found.out);
}

#[test]
fn the_site_holds_all_tables_and_needs_nothing_else() {
    let project = Project::new();
    let site = project.path("site").display().to_string();
    assert_eq!(project.run("docs", &["--out", &site]).code, Some(2));
    assert_eq!(project.run("docs", &["--out", &site]).code, Some(0), "nothing has changed");
    let data = fs::read_to_string(project.path("site/data.js")).unwrap();
    let tables: Value = serde_json::from_str(data.trim().strip_prefix("const TABLES = ").unwrap().trim_end_matches(';')).unwrap();
    assert_eq!(tables.as_array().unwrap().len(), 3);
    for name in ["index.html", "site.js", "site.css"] {
        let text = fs::read_to_string(project.path(&format!("site/{name}"))).unwrap();
        assert!(!text.replace("http://www.w3.org/2000/svg", "").contains("http"), "{name} loads from elsewhere");
    }
}

#[test]
fn schemas_are_those_of_the_files() {
    for kind in ["definition", "source", "seed", "test"] {
        let out = Finished::of(stele().args(["derived", "schema", kind])).ok();
        let schema: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(schema["additionalProperties"], false);
    }
}

#[test]
fn a_test_is_made_of_what_a_cluster_has_and_it_holds() {
    let (cluster, project) = (Cluster::up(), Project::new());
    let folder = project.folder.path().display().to_string();
    let run = |arguments: &[&str]| Finished::of(&mut cluster.stele(arguments));
    run(&["table", "create", &project.path("sources/events.yaml").display().to_string()]).ok();
    let rows = [
        r#"{"user_id":"ann","at":"2026-01-15T10:00:00Z","event_id":"a","country":"fr","level":3}"#,
        r#"{"user_id":"ann","at":"2026-01-15T11:00:00Z","event_id":"b","country":"fr"}"#,
        r#"{"user_id":"ann","at":"2026-01-16T11:00:00Z","event_id":"c"}"#,
    ];
    project.write("rows.ndjson", &rows.join("\n"));
    run(&["ingest", "raw.events", &project.path("rows.ndjson").display().to_string()]).ok();
    let applied = run(&["derived", "apply", &folder]).ok();
    assert!(applied.contains("seeds.countries: created, 2 rows written"), "{applied}");
    run(&["derived", "status", "--wait"]).ok();
    let made = run(&["derived", "test", &folder, "--create", "app.daily_users", "--window", "2026-01-15"]);
    assert_eq!(made.code, Some(2), "{}{}", made.out, made.err);
    let text = fs::read_to_string(project.path("tests/app_daily_users_2026-01-15.yaml")).unwrap();
    assert!(text.contains("level: 3") && text.contains("events: 2") && !text.contains("2026-01-16T11"), "{text}");
    let held = project.run("test", &[]).ok();
    assert_eq!(held.matches(": holds").count(), 2, "{held}");
    let again = run(&["derived", "test", &folder, "--create", "app.daily_users", "--window", "2026-01-15"]);
    again.fails_with(&["there already"]);
}

#[test]
fn an_edit_is_validated_by_who_watches() {
    let project = Project::new();
    let mut command = stele();
    command.args(["derived", "validate", "--watch"]).arg(project.folder.path()).env("STELE_URL", "http://127.0.0.1:9");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    let next = || lines.recv_timeout(DEADLINE).expect("it says what it finds");
    let round = || std::iter::repeat_with(next).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    assert!(round().contains("(1 compiled anew"));
    project.edit("derived/daily_users.yaml", "group by 1, 2", "group by 1, 3");
    let wrong = round();
    assert!(wrong.contains("app.daily_users: wrong") && wrong.contains("error: derived/daily_users.yaml:14:1: "), "{wrong}");
    project.edit("derived/daily_users.yaml", "group by 1, 3", "group by 1, 2 ");
    assert!(round().contains("app.daily_users: valid"));
    child.kill().unwrap();
    child.wait().unwrap();
}
