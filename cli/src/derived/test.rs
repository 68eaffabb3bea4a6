//! `test`: rows in, rows out, computed here.

mod bounds;
mod create;
mod diff;

use super::offline::{Loaded, ProjectArgs, load};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use common::schema::{Table, TableKind};
use common::time::Micros;
use derived::Artifact;
use derived::unit_test::UnitTest;
use gateway::runner::rehearsal::{Rehearsal, ShownRow, expected};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

/// Options of `test`.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Check declared `inputs: {back, ahead}`: windows computed from no more than that must be as from all there is.
    #[arg(long)]
    bounds: bool,
    /// Windows of a table at most for --bounds.
    #[arg(long, default_value_t = 20, requires = "bounds")]
    samples: usize,
    /// Write a test of this table from what a cluster has now.
    #[arg(long, value_name = "TABLE", conflicts_with = "bounds")]
    create: Option<String>,
    /// The window of --create: `2026-01-01`, or `2026-01-01..2026-01-03`.
    #[arg(long, value_name = "TIME", requires = "create")]
    window: Option<String>,
}

/// How a test ended.
struct Outcome {
    file: String,
    table: String,
    /// What is wrong; empty: it holds.
    faults: String,
}

/// Does it: 1 if a test does not hold.
pub async fn run(args: TestArgs) -> Result<ExitCode> {
    let loaded = load(&args.project.dir, &args.project.more.url).await?;
    if let Some(table) = &args.create {
        return create::run(&loaded, &args.project, table, args.window.as_deref()).await;
    }
    let chosen = loaded.chosen(args.project.more.select.as_ref())?;
    let mut tests = Vec::new();
    for test in loaded.project.tests() {
        let test = test.map_err(|e| anyhow!("{e}"))?;
        if chosen.as_ref().is_none_or(|c| c.contains(&test.words.table)) {
            tests.push(test);
        }
    }
    if tests.is_empty() {
        println!("there are no tests: write tests/*.yaml, or `stele derived test --create TABLE --window TIME`");
        return Ok(ExitCode::SUCCESS);
    }
    if args.bounds {
        return bounds::run(&loaded, &tests, args.samples, args.project.more.json).await;
    }
    let mut outcomes = Vec::new();
    for test in &tests {
        let faults = match one(&loaded, test).await {
            Ok(faults) => faults,
            Err(e) => format!("{e:#}\n"),
        };
        outcomes.push(Outcome { file: test.file.clone(), table: test.words.table.clone(), faults });
    }
    report(&outcomes, args.project.more.json)
}

fn report(outcomes: &[Outcome], as_json: bool) -> Result<ExitCode> {
    let failed = outcomes.iter().filter(|o| !o.faults.is_empty()).count();
    if as_json {
        let one = |o: &Outcome| json!({ "file": o.file, "table": o.table, "holds": o.faults.is_empty(), "faults": o.faults });
        println!("{}", serde_json::to_string_pretty(&outcomes.iter().map(one).collect::<Vec<_>>())?);
        return Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for outcome in outcomes {
        println!("{}: {}", outcome.file, if outcome.faults.is_empty() { "holds" } else { "does not hold" });
        outcome.faults.lines().for_each(|line| println!("  {line}"));
    }
    if failed > 0 {
        bail!("{failed} of {} tests do not hold", outcomes.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// What differs; nothing if the test holds.
async fn one(loaded: &Loaded, test: &UnitTest) -> Result<String> {
    let artifact = loaded.artifact(&test.words.table)?;
    let table = Arc::new(made_by(artifact)?);
    let want = test
        .words
        .expect
        .iter()
        .enumerate()
        .map(|(number, row)| expected(&table, row).map_err(|e| anyhow!("{}: expect: row {}: {e}", test.file, number + 1)));
    let want: Vec<ShownRow> = want.collect::<Result<_>>()?;
    let got =
        rehearsal(loaded, artifact, test)?.compute(artifact, &table, range(artifact, test), true).await.map_err(|e| anyhow!("{e}"))?;
    let named: BTreeSet<&String> = test.words.expect.iter().flat_map(serde_json::Map::keys).collect();
    let kept = |mut row: ShownRow| {
        row.retain(|name, _| !test.words.partial || named.contains(name));
        row
    };
    let key: Vec<String> = table.key.iter().filter(|p| !p.hidden).map(|p| p.name.clone()).collect();
    Ok(diff::diff(&key, want, got.into_iter().map(kept).collect()))
}

fn made_by(artifact: &Artifact) -> Result<Table> {
    Table::create(common::ids::TableId(0), TableKind::Derived, artifact.spec.clone()).map_err(|e| anyhow!("{e}"))
}

/// The inputs of a test in memory.
fn rehearsal(loaded: &Loaded, artifact: &Artifact, test: &UnitTest) -> Result<Rehearsal> {
    if let Some(name) = test.words.inputs.keys().find(|name| artifact.input(name).is_none()) {
        let reads: Vec<_> = artifact.inputs.iter().map(|i| i.name.as_str()).collect();
        bail!("{}: inputs: '{}' does not read '{name}'; it reads {}", test.file, artifact.name, reads.join(", "));
    }
    let mut tables = Vec::new();
    for input in &artifact.inputs {
        let table = loaded.table(&input.name).ok_or_else(|| anyhow!("table '{}' is not known", input.name))?;
        let seeded = loaded.compiled.seeds.iter().find(|s| s.spec.name == input.name).map(|s| s.rows.as_slice());
        // A seed that a test does not give is as it is in the project.
        let rows = test.words.inputs.get(&input.name).map(Vec::as_slice).or(seeded).unwrap_or_default();
        tables.push((Arc::new(table), rows));
    }
    Rehearsal::new(&tables).map_err(|e| anyhow!("{}: inputs: {e}", test.file))
}

/// The times that a test computes.
fn range(artifact: &Artifact, test: &UnitTest) -> Option<(Micros, Micros)> {
    let (start, end) = test.window?;
    let Some(window) = &artifact.window else { return Some((start, end.unwrap_or(start))) };
    let words = test.words.window.as_ref()?;
    let instant = |text: &str, at: Micros| if text.trim().len() == "2026-01-01".len() { window.windows.instant(at) } else { at };
    let start = instant(&words.start, start);
    let end = match (end, words.end.as_deref()) {
        (Some(end), Some(text)) => instant(text, end),
        _ => window.windows.ceil(Micros(start.0 + 1)),
    };
    Some((start, end))
}
