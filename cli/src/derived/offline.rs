//! A project on this machine, compiled here: what commands without a cluster work on.

use crate::client::{Client, Unreachable, UrlArgs};
use crate::project::Project;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use common::ids::TableId;
use common::schema::{Table, TableKind, TableSpec};
use derived::project::{Compiled, Compiler, NodeState};
use derived::select::Selection;
use derived::{Artifact, Problem};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A project and how to show it.
#[derive(Clone, Debug, Args)]
pub struct ProjectArgs {
    /// A project's folder, or its `derived` folder.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub more: MoreArgs,
}

/// What all commands on projects take.
#[derive(Clone, Debug, Args)]
pub struct MoreArgs {
    /// Only these tables: names (`app.*`), `tag:`, `owner:`, `path:`; `+t` with all it reads, `t+` with all that reads it.
    #[arg(long, value_name = "TERMS", value_parser = Selection::parse)]
    pub select: Option<Selection>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub url: UrlArgs,
}

/// A compiled project.
#[derive(Debug)]
pub struct Loaded {
    /// Its files.
    pub project: derived::Project,
    /// What they mean.
    pub compiled: Compiled,
    /// Raw tables of the cluster, if it was asked for some.
    pub cluster: Vec<Table>,
}

/// A new compiler.
pub fn compiler() -> Result<Compiler> {
    Compiler::new(&gateway::sql::session_without_tables).map_err(|e| anyhow!("{e}"))
}

/// Compiles a project. What it reads and does not declare is asked of the gateway, if one answers.
pub async fn load(dir: &Path, url: &UrlArgs) -> Result<Loaded> {
    let (loaded, _) = load_with(compiler()?, dir, url).await?;
    Ok(loaded)
}

/// As [`load`], with a compiler that may have compiled an earlier state.
pub async fn load_with(mut compiler: Compiler, dir: &Path, url: &UrlArgs) -> Result<(Loaded, Compiler)> {
    let files = Project::folder(dir)?;
    files.definitions()?;
    let project = files.all();
    let compiled = compiler.compile(&project, &[]);
    if compiled.unknown.is_empty() {
        return Ok((Loaded { project, compiled, cluster: Vec::new() }, compiler));
    }
    let cluster = match raw_tables(&Client::new(&url.url)?).await {
        Ok(tables) => tables,
        Err(e) if e.is::<Unreachable>() => Vec::new(),
        Err(e) => return Err(e),
    };
    let compiled = compiler.compile(&project, &cluster);
    Ok((Loaded { project, compiled, cluster }, compiler))
}

async fn raw_tables(client: &Client) -> Result<Vec<Table>> {
    let found: Value = client.get(&["tables"]).await?;
    let raw = found["tables"].as_array().into_iter().flatten().filter(|t| t["kind"] == "raw");
    let table = |t: &Value| {
        let spec: TableSpec = serde_json::from_value(t.get("spec").unwrap_or(t).clone())?;
        Table::create(TableId(0), TableKind::Raw, spec).map_err(|e| anyhow!("{e}"))
    };
    raw.map(table).collect()
}

impl Loaded {
    /// The names that a selection chooses; `None`: all.
    pub fn chosen(&self, select: Option<&Selection>) -> Result<Option<BTreeSet<String>>> {
        select.map(|s| s.choose(&self.compiled.items(), None).map_err(|e| anyhow!("--select: {e}"))).transpose()
    }

    /// What is wrong with the files of chosen tables, and with what is no table.
    pub fn problems(&self, chosen: Option<&BTreeSet<String>>) -> Vec<&Problem> {
        let failed = self.compiled.nodes.iter().filter_map(|n| match &n.state {
            NodeState::Failed(problem) if chosen.is_none_or(|c| c.contains(&n.name)) => Some(problem),
            _ => None,
        });
        self.compiled.problems.iter().chain(failed).collect()
    }

    /// A definition that compiles, by its table's name.
    pub fn artifact(&self, name: &str) -> Result<&Artifact> {
        match self.compiled.nodes.iter().find(|n| n.name == name).map(|n| &n.state) {
            Some(NodeState::Compiled(artifact)) => Ok(artifact),
            Some(NodeState::Failed(problem)) => bail!("{problem}"),
            Some(NodeState::Blocked(by)) => {
                let causes: Vec<_> = self.problems(None).iter().map(ToString::to_string).collect();
                bail!("'{name}' reads what is wrong: {}\n{}", by.join(", "), causes.join("\n"))
            }
            None => {
                let items = self.compiled.items();
                let near: Vec<_> = items.iter().filter(|i| strsim::jaro_winkler(&i.name, name) > 0.8).map(|i| i.name.as_str()).collect();
                let hint = if near.is_empty() {
                    "`stele derived list` names them".to_owned()
                } else {
                    format!("did you mean {}?", near.join(" or "))
                };
                bail!("there is no definition of '{name}': {hint}")
            }
        }
    }

    /// The table of this name, as SQL sees it.
    pub fn table(&self, name: &str) -> Option<Table> {
        let spec = |spec: &TableSpec, kind| Table::create(TableId(0), kind, spec.clone()).ok();
        let source =
            self.compiled.sources.iter().map(|s| &s.spec).chain(self.compiled.seeds.iter().map(|s| &s.spec)).find(|s| s.name == name);
        let derived = || self.compiled.artifacts().find(|a| a.name == name).and_then(|a| spec(&a.spec, TableKind::Derived));
        let cluster = || self.cluster.iter().find(|t| t.name == name).cloned();
        source.and_then(|s| spec(s, TableKind::Raw)).or_else(derived).or_else(cluster)
    }
}
