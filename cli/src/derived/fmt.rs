//! `fmt`: definitions and SQL files in one layout.

use crate::exit::CHANGES;
use crate::project::Project;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `fmt`.
#[derive(Clone, Debug, Args)]
pub struct FmtArgs {
    /// A project's folder, or its `derived` folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Write nothing, only say what would change.
    #[arg(long)]
    check: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Does it: 2 if files were, or with --check would be, changed.
pub fn run(args: &FmtArgs) -> Result<ExitCode> {
    let whole = args.dir.join("derived").is_dir();
    let files = Project::folder(&args.dir)?;
    files.definitions()?;
    let project = files.all();
    let (mut changed, mut problems) = (Vec::new(), Vec::new());
    for (path, text) in project.files().filter(|(path, _)| path.starts_with("derived/")) {
        let laid = match path.ends_with(".sql") {
            true => derived::layout::sql(text),
            false => match derived::layout::definition(path, text) {
                Ok(laid) => laid,
                Err(problem) => {
                    problems.push(problem.to_string());
                    continue;
                }
            },
        };
        if laid == text {
            continue;
        }
        if !args.check {
            let at = if whole { args.dir.join(path) } else { args.dir.join(path.trim_start_matches("derived/")) };
            std::fs::write(&at, laid).with_context(|| format!("cannot write '{}'", at.display()))?;
        }
        changed.push(path);
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "changed": changed, "problems": problems }))?),
        false => changed.iter().for_each(|path| println!("{path}")),
    }
    if !problems.is_empty() {
        bail!(problems.join("\n"));
    }
    Ok(if changed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}
