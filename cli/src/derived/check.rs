//! What needs no cluster.

use super::files::{Sent, report, send};
use crate::client::{Client, Unreachable, UrlArgs};
use crate::project::{Definitions, Project};
use anyhow::{Result, bail};
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// Checks of a project's files.
#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Check all definitions of a folder against the tables there are; nothing is changed.
    Validate {
        /// A project's folder, or its `derived` folder.
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// Does it.
pub async fn run(command: CheckCommand) -> Result<ExitCode> {
    match command {
        CheckCommand::Validate { dir, url } => {
            let definitions = Project::folder(&dir)?.definitions()?;
            match send(&Client::new(&url.url)?, "validate", &Sent { files: definitions.clone(), ..Sent::default() }).await {
                Ok(found) => report(&found, "valid, apply: "),
                Err(e) if e.is::<Unreachable>() => validate_alone(definitions, &url.url).await?,
                Err(e) => return Err(e),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Compiles definitions against the sources that their own project declares.
async fn validate_alone(definitions: Definitions, url: &str) -> Result<()> {
    let project = derived::Project::from_files(definitions);
    let compiled = tokio::task::spawn_blocking(move || project.compile(&gateway::sql::session_without_tables, &[])).await?;
    eprintln!("no gateway answers at {url}: checked against the sources of the project alone");
    for artifact in compiled.artifacts() {
        println!("{}: valid", artifact.name);
        artifact.warnings.iter().for_each(|warning| println!("  warning: {warning}"));
    }
    let problems: Vec<_> = compiled.problems().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(()) } else { bail!(problems.join("\n")) }
}
