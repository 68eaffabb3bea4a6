//! `test --create`: a test of a table as it is in a cluster now.

use crate::client::{Client, NDJSON};
use crate::derived::offline::{Loaded, ProjectArgs};
use crate::derived::show::range;
use crate::exit::CHANGES;
use anyhow::{Context, Result, bail};
use common::time::{Micros, TimeRange};
use derived::Artifact;
use derived::unit_test::{FixtureRow, TestWindow, TestWords};
use std::process::ExitCode;

/// Rows of an input in a test at most: more are no example.
const ROWS: usize = 500;

/// Writes `tests/<table>_<start>.yaml`.
pub async fn run(loaded: &Loaded, project: &ProjectArgs, table: &str, window: Option<&str>) -> Result<ExitCode> {
    let artifact = loaded.artifact(table)?;
    let window = match (&artifact.window, window) {
        (Some(_), None) => bail!("'{table}' has windows: say which one, as in --window 2026-01-01"),
        (None, Some(_)) => bail!("'{table}' has no windows: leave --window out"),
        (_, text) => text.map(|text| range(artifact, text)).transpose()?,
    };
    let client = Client::new(&project.more.url.url)?;
    let mut words = TestWords {
        table: table.to_owned(),
        description: Some("as it was in a cluster".into()),
        window: window.map(|(start, end)| TestWindow { start: start.to_rfc3339(), end: Some(end.to_rfc3339()) }),
        inputs: std::collections::BTreeMap::new(),
        expect: Vec::new(),
        partial: false,
    };
    for input in &artifact.inputs {
        let times = artifact.reads(input, window);
        let filter = input.time.as_ref().zip(times).map(|(time, times)| within(&time.column, time.date, times));
        words.inputs.insert(input.name.clone(), rows(&client, loaded, &input.name, filter.as_deref()).await?);
    }
    let filter = window.and_then(|window| published(artifact, window));
    if matches!(artifact.strategy, derived::document::Strategy::Merge(_)) {
        bail!("'{table}' merges: what it shows comes of all windows, so no window of it is a test; write one by hand");
    }
    words.expect = rows(&client, loaded, table, filter.as_deref()).await?;
    let start = window.map(|(start, _)| format!("_{}", start.to_rfc3339().chars().take(10).collect::<String>())).unwrap_or_default();
    let folder = if project.dir.join("derived").is_dir() { project.dir.join("tests") } else { project.dir.join("../tests") };
    let path = folder.join(format!("{}{start}.yaml", table.replace('.', "_")));
    anyhow::ensure!(!path.exists(), "'{}' is there already: nothing was written", path.display());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder '{}'", folder.display()))?;
    std::fs::write(&path, serde_yaml_ng::to_string(&words)?).with_context(|| format!("cannot write '{}'", path.display()))?;
    println!("{}: {} rows expected", path.display(), words.expect.len());
    Ok(ExitCode::from(CHANGES))
}

fn published(artifact: &Artifact, (start, end): (Micros, Micros)) -> Option<String> {
    let window = artifact.window.as_ref()?;
    let times = TimeRange { start: window.time_value(start), end: window.time_value(end) };
    Some(within(&window.time_column, window.date, times))
}

/// A predicate; rows without a time are always there.
fn within(column: &str, date: bool, times: TimeRange) -> String {
    let literal = |at: Micros| {
        let text = at.to_rfc3339();
        match date {
            true => format!("date '{}'", text.split('T').next().unwrap_or_default()),
            false => format!("timestamp '{}'", text.trim_end_matches('Z')),
        }
    };
    let mut ends = Vec::new();
    if times.start != Micros::MIN {
        ends.push(format!("\"{column}\" >= {}", literal(times.start)));
    }
    if times.end != Micros::MAX {
        ends.push(format!("\"{column}\" < {}", literal(times.end)));
    }
    if ends.is_empty() { "true".into() } else { format!("(\"{column}\" is null or ({}))", ends.join(" and ")) }
}

async fn rows(client: &Client, loaded: &Loaded, table: &str, filter: Option<&str>) -> Result<Vec<FixtureRow>> {
    let filter = filter.map(|f| format!("where {f}")).unwrap_or_default();
    let known = loaded.table(table);
    let attributes = known.as_ref().and_then(|t| t.undeclared.and_then(|id| t.family_by_id(id))).map(|f| f.name.as_str());
    let answer = client.sql(&format!("select * from {table} {filter} limit {}", ROWS + 1), NDJSON).await?;
    let text = answer.text().await.context("the answer broke off")?;
    let rows = text.lines().filter(|l| !l.trim().is_empty()).map(|line| {
        let row: FixtureRow = serde_json::from_str(line).context("a row of the answer is no JSON object")?;
        Ok(flattened(row, attributes))
    });
    let rows: Vec<FixtureRow> = rows.collect::<Result<_>>()?;
    anyhow::ensure!(
        rows.len() <= ROWS,
        "'{table}' has more than {ROWS} rows for it: that is no test to read; choose a smaller window, or write it by hand"
    );
    Ok(rows)
}

/// Nulls are left out; undeclared attributes, a map of JSON texts, become members like all others.
fn flattened(row: FixtureRow, family: Option<&str>) -> FixtureRow {
    let mut out = FixtureRow::new();
    for (name, value) in row {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::Object(attributes) if family == Some(name.as_str()) => {
                for (name, value) in attributes {
                    let json = value.as_str().and_then(|text| serde_json::from_str(text).ok());
                    out.insert(name, json.unwrap_or(value));
                }
            }
            other => _ = out.insert(name, other),
        }
    }
    out
}
