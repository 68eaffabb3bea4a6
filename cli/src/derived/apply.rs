//! What changes which definitions a cluster has.

use super::files::{report, send};
use crate::client::{Client, UrlArgs};
use crate::project::Project;
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// Changes of a cluster's definitions.
#[derive(Debug, Subcommand)]
pub enum ApplyCommand {
    /// Apply all definitions of a folder, or none if one is wrong.
    Apply {
        /// A project's folder, or its `derived` folder.
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        url: UrlArgs,
    },
}

/// Does it.
pub async fn run(command: ApplyCommand) -> Result<ExitCode> {
    match command {
        ApplyCommand::Apply { dir, url } => {
            let found = send(&Client::new(&url.url)?, "apply", &Project::folder(&dir)?.definitions()?).await?;
            report(&found, "");
        }
    }
    Ok(ExitCode::SUCCESS)
}
