//! `docs`: a static site of a project, with its DAG and the lineage of columns. It needs no server and loads nothing from elsewhere.

use super::offline::{ProjectArgs, load};
use super::show::describe_all;
use crate::exit::CHANGES;
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `docs`.
#[derive(Clone, Debug, Args)]
pub struct DocsArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The folder of the site.
    #[arg(long, default_value = "site")]
    out: PathBuf,
}

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = include_str!("docs/site.js");
const STYLE: &str = include_str!("docs/site.css");

/// Does it: 2 if the site differs from what was there.
pub async fn run(args: DocsArgs) -> Result<ExitCode> {
    let loaded = load(&args.project.dir, &args.project.more.url).await?;
    let chosen = loaded.chosen(args.project.more.select.as_ref())?;
    let mut tables = describe_all(&loaded);
    if let Some(chosen) = &chosen {
        tables.retain(|t| chosen.contains(t["name"].as_str().unwrap_or_default()));
    }
    // What is read and neither declared nor defined is there by its name.
    let known: Vec<String> = tables.iter().filter_map(|t| t["name"].as_str().map(str::to_owned)).collect();
    let read: Vec<String> =
        tables.iter().flat_map(|t| t["inputs"].as_array().into_iter().flatten()).filter_map(|i| i.as_str().map(str::to_owned)).collect();
    let mut more: Vec<_> = read.into_iter().filter(|name| chosen.is_none() && !known.contains(name)).collect();
    more.sort();
    more.dedup();
    tables.extend(more.into_iter().map(|name| json!({ "name": name, "kind": "table", "inputs": [], "columns": [] })));
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder '{}'", args.out.display()))?;
    let data = format!("const TABLES = {};\n", in_script(&Value::Array(tables.clone())));
    let mut changed = false;
    for (name, text) in [("index.html", PAGE), ("site.js", SCRIPT), ("site.css", STYLE), ("data.js", data.as_str())] {
        let path = args.out.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        changed = true;
        std::fs::write(&path, text).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    match args.project.more.json {
        true => println!("{}", json!({ "site": args.out.join("index.html"), "tables": tables.len(), "changed": changed })),
        false => println!("{}: {} tables", args.out.join("index.html").display(), tables.len()),
    }
    Ok(if changed { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}

/// JSON as it may stand in a script.
fn in_script(value: &Value) -> String {
    value.to_string().replace("</", "<\\/").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}
