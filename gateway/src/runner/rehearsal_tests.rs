use super::*;
use crate::sql::session_without_tables;
use common::ids::TableId;
use common::schema::TableKind;
use derived::Project;
use derived::project::Compiled;
use std::collections::BTreeMap;

const EVENTS: &str = "name: raw.events\nkey: [user_id: string, at: timestamp desc, id: int64]\ncolumns: {cents: int64, share: float64, raw: bytes, doc: json, ok: bool, day: date}\ntime_column: at\n";

fn compiled(files: &[(&str, &str)]) -> Compiled {
    let files = files.iter().chain(&[("sources/events.yaml", EVENTS)]).map(|(p, t)| ((*p).to_owned(), (*t).to_owned()));
    let compiled = Project::from_files(files.collect::<BTreeMap<_, _>>()).compile(&session_without_tables, &[]);
    let problems: Vec<_> = compiled.problems().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    compiled
}

fn events() -> Arc<Table> {
    let source = derived::definition::Source::parse("s.yaml", EVENTS).unwrap();
    Arc::new(Table::create(TableId(1), TableKind::Raw, source.spec).unwrap())
}

fn rows(json: Value) -> Vec<FixtureRow> {
    serde_json::from_value(json).unwrap()
}

async fn run(yaml: &str, input: Value, range: Option<(&str, &str)>) -> Result<Vec<String>> {
    let compiled = compiled(&[("derived/x.yaml", yaml)]);
    let artifact = compiled.artifacts().next().unwrap();
    let table = Arc::new(Table::create(TableId(2), TableKind::Derived, artifact.spec.clone()).unwrap());
    let rehearsal = Rehearsal::new(&[(events(), &rows(input))])?;
    let at = |text: &str| Micros::parse(text).unwrap();
    let found = rehearsal.compute(artifact, &table, range.map(|(s, e)| (at(s), at(e))), true).await?;
    Ok(found.iter().map(|row| row.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")).collect())
}

#[tokio::test]
async fn values_of_all_types_come_through_and_undeclared_attributes_too() {
    let yaml = "name: a.x\nkey: {partition: [user_id], unique: [user_id]}\nsql: select user_id, at, cents, share, raw, doc, doc->>'a' as a, ok, day, attrs->>'extra' as extra from raw.events\n";
    let input = serde_json::json!([
        {"user_id": "u", "at": "2026-01-01T10:00:00Z", "id": 1, "cents": 5, "share": 0.5, "raw": "aGk=", "doc": {"a": "b"}, "ok": true, "day": "2026-01-02", "extra": "x"},
        {"user_id": "v", "at": "2026-01-01", "id": 2},
    ]);
    let found = run(yaml, input, None).await.unwrap();
    assert_eq!(
        found,
        [
            "a=\"b\" at=\"2026-01-01T10:00:00Z\" cents=5 day=\"2026-01-02\" doc={\"a\":\"b\"} extra=\"x\" ok=true raw=\"aGk=\" share=0.5 user_id=\"u\"",
            "at=\"2026-01-01T00:00:00Z\" user_id=\"v\"",
        ]
    );
}

#[tokio::test]
async fn windows_and_merges_are_computed_as_by_runs() {
    let daily = "name: a.x\nkey: {partition: [user_id], cluster: [day], unique: [user_id, day]}\nwindow: {every: day}\ntime_column: day\nsql: select user_id, at::date as day, sum(cents) as c from raw.events group by 1, 2\n";
    let input = serde_json::json!([
        {"user_id": "u", "at": "2026-01-01T10:00:00Z", "id": 1, "cents": 5},
        {"user_id": "u", "at": "2026-01-01T11:00:00Z", "id": 2, "cents": 6},
        {"user_id": "u", "at": "2026-01-02T11:00:00Z", "id": 3, "cents": 7},
    ]);
    let first = run(daily, input.clone(), Some(("2026-01-01", "2026-01-02"))).await.unwrap();
    assert_eq!(first, ["c=11 day=\"2026-01-01\" user_id=\"u\""]);
    assert_eq!(run(daily, input.clone(), None).await.unwrap().len(), 2);
    let wrong = run(daily, input.clone(), Some(("2026-01-01T05:00:00Z", "2026-01-02"))).await.unwrap_err();
    assert!(wrong.message.contains("do not begin at"), "{wrong}");
    let merge = "name: a.x\nstrategy: {merge: {key: [user_id], columns: {first_at: min, c: sum}}}\nwindow: {every: day}\ntime_column: day\nsql: select user_id, at::date as day, min(at) as first_at, sum(cents) as c from raw.events group by 1, 2\n";
    assert_eq!(run(merge, input, None).await.unwrap(), ["c=18 first_at=\"2026-01-01T10:00:00Z\" user_id=\"u\""]);
}

#[tokio::test]
async fn what_fails_a_run_fails_here_too() {
    let unique = "name: a.x\nkey: {partition: [user_id], unique: [user_id]}\ncolumns: {cents: {tests: [{range: {min: 1}}]}}\nsql: select user_id, cents from raw.events\n";
    let twice = serde_json::json!([
        {"user_id": "u", "at": "2026-01-01", "id": 1, "cents": 5},
        {"user_id": "u", "at": "2026-01-01", "id": 2, "cents": 5},
    ]);
    assert!(run(unique, twice, None).await.unwrap_err().message.contains("same unique key"));
    let low = serde_json::json!([{"user_id": "u", "at": "2026-01-01", "id": 1, "cents": 0}]);
    assert!(run(unique, low, None).await.unwrap_err().message.contains("cents is at least 1"));
    for (row, says) in [
        (serde_json::json!([{"user_id": "u", "id": 1}]), "'at' is part of the key"),
        (serde_json::json!([{"user_id": "u", "at": "2026-01-01", "id": "x"}]), "field 'id'"),
    ] {
        let wrong = run(unique, row, None).await.unwrap_err().message;
        assert!(wrong.contains(says) && wrong.contains("raw.events") && wrong.contains("row 1"), "{wrong}");
    }
}
