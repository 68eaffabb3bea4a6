//! `validate`: parses, renders, resolves and types everything.

use super::offline::{Loaded, ProjectArgs, compiler, load_with};
use anyhow::{Context, Result, bail};
use clap::Args;
use derived::project::{Compiler, FOLDERS, NodeState};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

/// How often files are looked at for changes.
const LOOK: Duration = Duration::from_millis(300);
/// What has not changed for this long is written whole.
const SETTLED: Duration = Duration::from_millis(30);

/// Options of `validate`.
#[derive(Clone, Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Go on, and validate what an edit changes.
    #[arg(long)]
    watch: bool,
}

/// Does it.
pub async fn run(args: ValidateArgs) -> Result<ExitCode> {
    let mut compiler = compiler()?;
    if !args.watch {
        return once(&args, compiler).await.map(|(code, _)| code);
    }
    let mut seen = None;
    loop {
        let stamps = stamps(&args.project.dir)?;
        if seen.as_ref() == Some(&stamps) {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        if seen.is_some() {
            tokio::time::sleep(SETTLED).await;
            if self::stamps(&args.project.dir)? != stamps {
                continue;
            }
        }
        let began = Instant::now();
        let (_, back) = once(&args, compiler).await?;
        if !args.project.more.json {
            println!("({} compiled anew in {}; waiting for changes)\n", back.resolved(), crate::print::time(began.elapsed()));
        }
        (compiler, seen) = (back, Some(stamps));
    }
}

/// All files below a folder with when and how large they were written.
fn stamps(dir: &Path) -> Result<BTreeMap<PathBuf, (Option<SystemTime>, u64)>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![dir.to_owned()]);
    if !dir.join("derived").is_dir() {
        folders.extend(FOLDERS.iter().map(|(name, _)| dir.join("..").join(name)).filter(|f| f.is_dir()));
    }
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read the folder '{}'", folder.display()))? {
            let (path, about) = entry.and_then(|e| Ok((e.path(), e.metadata()?)))?;
            match about.is_dir() {
                true => folders.push(path),
                false => _ = found.insert(path, (about.modified().ok(), about.len())),
            }
        }
    }
    Ok(found)
}

async fn once(args: &ValidateArgs, compiler: Compiler) -> Result<(ExitCode, Compiler)> {
    let (loaded, compiler) = load_with(compiler, &args.project.dir, &args.project.more.url).await?;
    let chosen = loaded.chosen(args.project.more.select.as_ref())?;
    let problems = loaded.problems(chosen.as_ref());
    // A unit test that cannot be read is wrong like any other file; whether it holds is for `test` to say.
    let tests: Vec<_> = loaded.project.tests().filter_map(Result::err).collect();
    let problems: Vec<String> = problems.into_iter().chain(&tests).map(ToString::to_string).collect();
    if args.project.more.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&loaded, chosen.as_ref(), &problems))?);
        let code = if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        return Ok((code, compiler));
    }
    show(&loaded, chosen.as_ref());
    match (problems.is_empty(), args.watch) {
        (true, _) => {}
        (false, true) => problems.iter().for_each(|p| println!("error: {p}")),
        (false, false) => bail!(problems.join("\n")),
    }
    Ok((ExitCode::SUCCESS, compiler))
}

fn show(loaded: &Loaded, chosen: Option<&BTreeSet<String>>) {
    for node in loaded.compiled.nodes.iter().filter(|n| chosen.is_none_or(|c| c.contains(&n.name))) {
        match &node.state {
            NodeState::Compiled(artifact) => {
                println!("{}: valid", node.name);
                artifact.warnings.iter().for_each(|warning| println!("  warning: {warning}"));
            }
            NodeState::Blocked(by) => println!("{}: blocked by {}", node.name, by.join(", ")),
            NodeState::Failed(_) => println!("{}: wrong", node.name),
        }
    }
}

fn as_json(loaded: &Loaded, chosen: Option<&BTreeSet<String>>, problems: &[String]) -> Value {
    let node = |n: &derived::project::Node| match &n.state {
        NodeState::Compiled(a) => json!({ "name": n.name, "file": n.file, "state": "valid", "warnings": a.warnings }),
        NodeState::Blocked(by) => json!({ "name": n.name, "file": n.file, "state": "blocked", "by": by }),
        NodeState::Failed(p) => {
            json!({ "name": n.name, "file": n.file, "state": "wrong", "problem": { "file": p.file, "line": p.line, "column": p.column, "message": p.message } })
        }
    };
    let nodes = loaded.compiled.nodes.iter().filter(|n| chosen.is_none_or(|c| c.contains(&n.name)));
    json!({ "tables": nodes.map(node).collect::<Vec<_>>(), "problems": problems })
}
