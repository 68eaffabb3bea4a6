//! `lineage`: which tables and columns a table or a column comes from, and which come from it.

use super::offline::{Loaded, load};
use super::show::TableArgs;
use anyhow::{Result, bail};
use clap::Args;
use derived::lineage::ColumnRef;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// Options of `lineage`.
#[derive(Clone, Debug, Args)]
pub struct LineageArgs {
    #[command(flatten)]
    table: TableArgs,
    /// Of one column.
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,
    /// What it comes from [default, with --down: not].
    #[arg(long)]
    up: bool,
    /// What comes from it.
    #[arg(long)]
    down: bool,
}

/// Who is made of whom: what each name comes from, directly.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Does it.
pub async fn run(args: LineageArgs) -> Result<ExitCode> {
    let loaded = load(&args.table.dir, &args.table.url).await?;
    let name = &args.table.table;
    let known = loaded.compiled.items();
    if !known.iter().any(|i| i.name == *name) && loaded.table(name).is_none() {
        loaded.artifact(name)?;
    }
    let (edges, root) = match &args.column {
        None => (tables(&loaded), name.clone()),
        Some(column) => (columns(&loaded), known_column(&loaded, name, column)?),
    };
    let mut found = BTreeSet::new();
    if args.up || !args.down {
        walk(&edges, &root, &mut found, false);
    }
    if args.down {
        walk(&turned(&edges), &root, &mut found, true);
    }
    if args.table.json {
        let edges: Vec<_> = found.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "of": root, "edges": edges }))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{root}");
    if args.up || !args.down {
        tree(&edges, &root, "← ", 1, &mut BTreeSet::new());
    }
    if args.down {
        tree(&turned(&edges), &root, "→ ", 1, &mut BTreeSet::new());
    }
    Ok(ExitCode::SUCCESS)
}

fn known_column(loaded: &Loaded, table: &str, column: &str) -> Result<String> {
    let schema = loaded.table(table).map(|t| t.arrow_schema());
    let names: Vec<String> = schema.iter().flat_map(|s| s.fields().iter().map(|f| f.name().clone())).collect();
    if !names.iter().any(|n| n == column) {
        bail!("'{table}' has no column '{column}': it has {}", names.join(", "));
    }
    Ok(ColumnRef { table: table.to_owned(), column: column.to_owned() }.to_string())
}

fn tables(loaded: &Loaded) -> Edges {
    loaded.compiled.items().into_iter().map(|i| (i.name, i.inputs.into_iter().collect())).collect()
}

fn columns(loaded: &Loaded) -> Edges {
    let mut edges = Edges::new();
    for artifact in loaded.compiled.artifacts() {
        for column in &artifact.columns {
            let of = ColumnRef { table: artifact.name.clone(), column: column.name.clone() };
            edges.insert(of.to_string(), column.from.iter().map(ToString::to_string).collect());
        }
    }
    edges
}

fn turned(edges: &Edges) -> Edges {
    let mut out = Edges::new();
    for (name, from) in edges {
        from.iter().for_each(|f| _ = out.entry(f.clone()).or_default().insert(name.clone()));
    }
    out
}

/// All edges from `root` on, as (from, to).
fn walk(edges: &Edges, root: &str, found: &mut BTreeSet<(String, String)>, down: bool) {
    for next in edges.get(root).into_iter().flatten() {
        let edge = if down { (root.to_owned(), next.clone()) } else { (next.clone(), root.to_owned()) };
        if found.insert(edge) {
            walk(edges, next, found, down);
        }
    }
}

/// A name that was shown before is not followed again.
fn tree(edges: &Edges, root: &str, arrow: &str, depth: usize, seen: &mut BTreeSet<String>) {
    for next in edges.get(root).into_iter().flatten() {
        let again = !seen.insert(next.clone()) && edges.get(next).is_some_and(|n| !n.is_empty());
        println!("{}{arrow}{next}{}", "  ".repeat(depth), if again { " (see above)" } else { "" });
        if !again {
            tree(edges, next, arrow, depth + 1, seen);
        }
    }
}
