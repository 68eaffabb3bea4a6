//! What changes which definitions a cluster has: plans of changes, and carrying them out.

use super::files::{self, Sent, report};
use super::planned::{Plan, PlanFile};
use crate::client::{Client, UrlArgs};
use crate::exit::CHANGES;
use crate::project::Project;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Changes of a cluster's definitions.
#[derive(Debug, Subcommand)]
pub enum ApplyCommand {
    /// Say what applying a folder would change; exit code 0: nothing, 2: something, 1: an error.
    Plan {
        /// A project's folder, or its `derived` folder.
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        to: Where,
        /// Write the plan to this file, for `stele derived apply FILE`.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print the plan as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        url: UrlArgs,
    },
    /// Apply all definitions of a folder, or none if one is wrong; or a plan, if definitions have not changed since.
    Apply {
        /// A project's folder, its `derived` folder, or a file of `stele derived plan --out`.
        #[arg(default_value = ".")]
        from: PathBuf,
        #[command(flatten)]
        to: Where,
        /// Do not ask, also where tables get another form or are retired.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// What is to be changed.
#[derive(Clone, Debug, Args)]
pub struct Where {
    /// The environment; it has its own tables for what differs from production and for what reads that.
    #[arg(long, default_value = "prod")]
    env: String,
    /// Retire the definitions that the folder does not have.
    #[arg(long)]
    prune: bool,
}

impl Where {
    fn environment(&self) -> &str {
        if self.env == "prod" { "" } else { &self.env }
    }
}

/// Does it.
pub async fn run(command: ApplyCommand) -> Result<ExitCode> {
    match command {
        ApplyCommand::Plan { dir, to, out, json, url } => {
            let sent = sent(&dir, &to)?;
            let plan = plan(&Client::new(&url.url)?, &sent).await?;
            if let Some(out) = out {
                PlanFile::new(&plan, &sent).write(&out)?;
            }
            show(&plan, json)
        }
        ApplyCommand::Apply { from, to, yes, url } => {
            let client = Client::new(&url.url)?;
            let (sent, plan) = match from.is_file() {
                true => PlanFile::read(&from)?.into_parts(),
                false => {
                    let sent = sent(&from, &to)?;
                    let plan = plan(&client, &sent).await?;
                    (sent, plan)
                }
            };
            plan.check()?;
            if !yes && plan.is_grave() {
                ask(&plan)?;
            }
            report(&files::send(&client, "apply", &Sent { base: Some(plan.base), ..sent }).await?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn sent(dir: &Path, to: &Where) -> Result<Sent> {
    Ok(Sent { files: Project::folder(dir)?.definitions()?, environment: to.environment().to_owned(), prune: to.prune, base: None })
}

async fn plan(client: &Client, sent: &Sent) -> Result<Plan> {
    client.put_json(Method::POST, &["derived", "plan"], sent).await
}

fn show(plan: &Plan, json: bool) -> Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string_pretty(plan).context("the plan cannot be shown")?);
        plan.check()?;
    } else {
        plan.check()?;
        print!("{}", plan.render());
    }
    Ok(if plan.changes { ExitCode::from(CHANGES) } else { ExitCode::SUCCESS })
}

/// Asks before tables that serve get another form or are retired.
fn ask(plan: &Plan) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("{}this needs somebody's consent: look at it with `stele derived plan`, and repeat with --yes", plan.render());
    }
    print!("{}Apply this? [y/N] ", plan.render());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was applied"),
    }
}
