//! `lint`: what is not wrong and still worth a look.

use super::offline::{ProjectArgs, load};
use crate::exit::CHANGES;
use anyhow::{Result, anyhow, bail};
use derived::lint::{RULES, lint};
use std::process::ExitCode;

/// Does it: 2 if there are findings.
pub async fn run(args: ProjectArgs) -> Result<ExitCode> {
    let loaded = load(&args.dir, &args.more.url).await?;
    let off = loaded.project.lint_off().map_err(|e| anyhow!("{e}"))?;
    if let Some(unknown) = off.iter().find(|rule| !RULES.iter().any(|(name, _)| name == rule)) {
        let names: Vec<_> = RULES.iter().map(|(name, _)| *name).collect();
        bail!("stele.yaml: lint: there is no rule '{unknown}': there are {}", names.join(", "));
    }
    let chosen = loaded.chosen(args.more.select.as_ref())?;
    let is_chosen = |table: &Option<String>| chosen.as_ref().is_none_or(|c| table.as_ref().is_some_and(|t| c.contains(t)));
    let found: Vec<_> = lint(&loaded.project, &loaded.compiled).into_iter().filter(|f| is_chosen(&f.table)).collect();
    match args.more.json {
        true => println!("{}", serde_json::to_string_pretty(&found)?),
        false => found.iter().for_each(|f| println!("{}: {} ({})", f.file, f.message, f.rule)),
    }
    let problems: Vec<_> = loaded.problems(chosen.as_ref()).into_iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        bail!(problems.join("\n"));
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}
