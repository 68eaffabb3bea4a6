//! `list`, `show`, `explain`, `render`, `schema`: what a project says, without a cluster.

use super::offline::{Loaded, MoreArgs, ProjectArgs, load};
use crate::client::UrlArgs;
use crate::print::Grid;
use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use common::schema::TableSpec;
use common::time::Micros;
use derived::Artifact;
use derived::definition::{ColumnNote, Format, json_schema};
use derived::document::Strategy;
use derived::project::NodeState;
use derived::window::WindowSpec;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// One table of a project.
#[derive(Clone, Debug, Args)]
pub struct TableArgs {
    /// dataset.name
    pub table: String,
    /// A project's folder, or its `derived` folder.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub url: UrlArgs,
}

/// What a project says.
#[derive(Debug, Subcommand)]
pub enum ShowCommand {
    /// List sources, seeds and derived tables.
    List(ProjectArgs),
    /// Show one table: columns, types, tags, what it reads and who reads it.
    Show(TableArgs),
    /// Say what a table reads per window, what it waits for, and how its rows get in.
    Explain(TableArgs),
    /// Print a table's SQL as it runs.
    Render {
        #[command(flatten)]
        table: TableArgs,
        /// With these window ends: `2026-01-01`, or `2026-01-01..2026-01-03`.
        #[arg(long, value_name = "TIME")]
        window: Option<String>,
    },
    /// Print the JSON Schema of a kind of file, for editors.
    Schema {
        /// Of which files.
        #[arg(default_value = "definition")]
        kind: Kind,
    },
}

/// A kind of file of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// derived/*.yaml
    Definition,
    /// sources/*.yaml
    Source,
    /// seeds/*.yaml
    Seed,
    /// tests/*.yaml
    Test,
}

/// The JSON Schema of a kind of file.
pub fn schema(kind: Kind) -> Value {
    json_schema(match kind {
        Kind::Definition => Format::Definition,
        Kind::Source => Format::Source,
        Kind::Seed => Format::Seed,
        Kind::Test => Format::Test,
    })
}

/// Does it.
pub async fn run(command: ShowCommand) -> Result<ExitCode> {
    match command {
        ShowCommand::List(ProjectArgs { dir, more }) => list(&load(&dir, &more.url).await?, &more)?,
        ShowCommand::Show(args) => show(&load(&args.dir, &args.url).await?, &args)?,
        ShowCommand::Explain(args) => {
            let loaded = load(&args.dir, &args.url).await?;
            let artifact = loaded.artifact(&args.table)?;
            match args.json {
                true => println!("{}", serde_json::to_string_pretty(&explained(artifact))?),
                false => print!("{}", derived::explain::explain(artifact)),
            }
        }
        ShowCommand::Render { table, window } => {
            let loaded = load(&table.dir, &table.url).await?;
            render(loaded.artifact(&table.table)?, window.as_deref(), table.json)?;
        }
        ShowCommand::Schema { kind } => println!("{}", serde_json::to_string_pretty(&schema(kind))?),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(loaded: &Loaded, more: &MoreArgs) -> Result<()> {
    let chosen = loaded.chosen(more.select.as_ref())?;
    let all = describe_all(loaded);
    let tables: Vec<_> =
        all.into_iter().filter(|t| chosen.as_ref().is_none_or(|c| c.contains(t["name"].as_str().unwrap_or_default()))).collect();
    if more.json {
        println!("{}", serde_json::to_string_pretty(&tables)?);
        return Ok(());
    }
    let mut grid = Grid::with(&["table", "kind", "window", "owner", "tags", "reads", "file"]);
    for t in &tables {
        let text = |key: &str| t[key].as_str().unwrap_or_default().to_owned();
        let texts = |key: &str| t[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        grid.push(vec![text("name"), text("kind"), text("window"), text("owner"), texts("tags"), texts("inputs"), text("file")]);
    }
    print!("{}", grid.render("", 60));
    Ok(())
}

/// All tables of a project as JSON, sources and seeds first.
pub fn describe_all(loaded: &Loaded) -> Vec<Value> {
    let sources = loaded.compiled.sources.iter().map(|s| {
        json!({
            "name": s.spec.name, "kind": "source", "file": s.file, "description": s.spec.description, "owner": s.owner, "tags": s.tags,
            "lateness": s.spec.lateness, "freshness": s.freshness.map(|f| f.as_secs()), "columns": spec_columns(&s.spec, &s.notes),
            "time_column": s.spec.time_column, "inputs": [],
        })
    });
    let seeds = loaded.compiled.seeds.iter().map(|s| {
        json!({
            "name": s.spec.name, "kind": "seed", "file": s.file, "description": s.spec.description, "owner": s.owner, "tags": s.tags,
            "columns": spec_columns(&s.spec, &s.notes), "rows": s.rows.len(), "inputs": [],
        })
    });
    let nodes = loaded.compiled.nodes.iter().map(|n| match &n.state {
        NodeState::Compiled(artifact) => describe(artifact),
        NodeState::Blocked(by) => json!({ "name": n.name, "kind": "blocked", "file": n.file, "inputs": by, "columns": [] }),
        NodeState::Failed(p) => {
            json!({ "name": n.name, "kind": "wrong", "file": n.file, "inputs": [], "columns": [], "problem": p.to_string() })
        }
    });
    sources.chain(seeds).chain(nodes).collect()
}

fn spec_columns(spec: &TableSpec, notes: &BTreeMap<String, ColumnNote>) -> Vec<Value> {
    let key = spec.key.iter().filter(|p| !p.hidden).map(|p| (&p.name, p.ty, true));
    let all = key.chain(spec.columns.iter().map(|c| (&c.name, c.ty, false)));
    all.map(|(name, ty, key)| {
        let note = notes.get(name).cloned().unwrap_or_default();
        json!({ "name": name, "type": ty, "key": key, "description": note.description, "tags": note.tags })
    })
    .collect()
}

fn describe(a: &Artifact) -> Value {
    let said: BTreeMap<&str, &str> = a.column_descriptions.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let column = |c: &derived::document::OutputColumn| {
        let untag = a.untagged.iter().find(|(name, _)| *name == c.name).map(|(_, reason)| reason);
        json!({
            "name": c.name, "type": c.ty, "key": a.spec.key.iter().any(|p| p.name == c.name), "description": said.get(c.name.as_str()),
            "tags": c.tags, "untagged": untag, "from": c.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    json!({
        "name": a.name, "kind": "derived", "file": a.file, "description": a.spec.description, "owner": a.owner, "tags": a.tags,
        "strategy": match &a.strategy { Strategy::Replace => "replace", Strategy::Append { .. } => "append", Strategy::Merge(_) => "merge" },
        "window": a.window.as_ref().map(|w| WindowSpec::from(w.windows.clone()).every), "time_column": a.window.as_ref().map(|w| &w.time_column),
        "unique": a.unique, "inputs": a.inputs.iter().map(|i| &i.name).collect::<Vec<_>>(), "columns": a.columns.iter().map(column).collect::<Vec<_>>(),
        "tests": a.tests.iter().map(ToString::to_string).collect::<Vec<_>>(), "warnings": a.warnings, "fingerprint": a.fingerprint,
        "sql": a.source, "explain": derived::explain::explain(a),
    })
}

fn explained(a: &Artifact) -> Value {
    let input =
        |i: &derived::document::Input| json!({ "name": i.name, "reads": i.reach, "why": i.why, "need": i.need, "on_change": i.on_change });
    json!({ "name": a.name, "strategy": a.strategy, "window": a.window, "inputs": a.inputs.iter().map(input).collect::<Vec<_>>(), "tests": a.tests, "warnings": a.warnings })
}

fn show(loaded: &Loaded, args: &TableArgs) -> Result<()> {
    let all = describe_all(loaded);
    let Some(table) = all.iter().find(|t| t["name"] == args.table.as_str()) else {
        return loaded.artifact(&args.table).map(drop);
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(table)?);
        return Ok(());
    }
    println!("{} ({}, {})", args.table, table["kind"].as_str().unwrap_or_default(), table["file"].as_str().unwrap_or_default());
    for key in ["description", "owner", "strategy", "window", "lateness", "problem"] {
        if let Some(text) = table[key].as_str() {
            println!("  {key}: {text}");
        }
    }
    let names = |key: &str| table[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let readers: Vec<_> = loaded.compiled.artifacts().filter(|a| a.input(&args.table).is_some()).map(|a| a.name.as_str()).collect();
    for (what, text) in [("tags", names("tags")), ("reads", names("inputs")), ("read by", readers.join(", ")), ("tests", names("tests"))] {
        if !text.is_empty() {
            println!("  {what}: {text}");
        }
    }
    let mut grid = Grid::with(&["column", "type", "tags", "from", "description"]);
    for c in table["columns"].as_array().into_iter().flatten() {
        let text = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
        let texts = |key: &str| c[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let name = if c["key"] == true { format!("{} (key)", text("name")) } else { text("name") };
        grid.push(vec![name, text("type"), texts("tags"), texts("from"), text("description")]);
    }
    print!("{}", grid.render("  ", 60));
    Ok(())
}

fn render(artifact: &Artifact, window: Option<&str>, json: bool) -> Result<()> {
    let queries: Vec<String> = match window {
        None => vec![artifact.sql.clone()],
        Some(text) => artifact.queries(Some(range(artifact, text)?)).into_iter().map(|q| q.sql).collect(),
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&json!({ "name": artifact.name, "queries": queries }))?),
        false => println!("{}", queries.join("\n;\n")),
    }
    Ok(())
}

/// `start` (the window that begins there) or `start..end`, of a table with windows.
pub fn range(artifact: &Artifact, text: &str) -> Result<(Micros, Micros)> {
    let window = artifact.window.as_ref().with_context(|| format!("'{}' has no windows", artifact.name))?;
    let time = |text: &str| {
        let at = Micros::parse(text.trim()).map_err(|e| anyhow!("--window: {e}"))?;
        Ok::<_, anyhow::Error>(if text.trim().len() == "2026-01-01".len() { window.windows.instant(at) } else { at })
    };
    let (start, end) = match text.split_once("..") {
        Some((start, end)) => (time(start)?, time(end)?),
        None => {
            let start = time(text)?;
            (start, window.windows.ceil(Micros(start.0 + 1)))
        }
    };
    anyhow::ensure!(start < end, "--window: {end} does not lie after {start}");
    for at in [start, end] {
        anyhow::ensure!(window.windows.floor(at) == at, "--window: no window of '{}' begins at {at}", artifact.name);
    }
    Ok((start, end))
}
