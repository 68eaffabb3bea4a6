//! `stele derived`: a file a group of commands.
//!
//! Modules import one way: `files` → `planned`, `status` → `verify` → `check`, `apply`, `environments`, `orders` → this one.

mod apply;
mod check;
mod environments;
mod files;
mod orders;
mod planned;
mod status;
mod verify;

pub use files::apply;
pub use status::wait_fresh;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// What to do with derived tables.
#[derive(Debug, Subcommand)]
pub enum DerivedCommand {
    #[command(flatten)]
    Check(check::CheckCommand),
    #[command(flatten)]
    Apply(apply::ApplyCommand),
    #[command(flatten)]
    Environment(environments::EnvironmentCommand),
    #[command(flatten)]
    Status(status::StatusCommand),
    #[command(flatten)]
    Orders(orders::OrderCommand),
}

/// Does it.
pub async fn run(command: DerivedCommand) -> Result<ExitCode> {
    match command {
        DerivedCommand::Check(command) => check::run(command).await,
        DerivedCommand::Apply(command) => apply::run(command).await,
        DerivedCommand::Environment(command) => environments::run(command).await,
        DerivedCommand::Status(command) => status::run(command).await,
        DerivedCommand::Orders(command) => orders::run(command).await,
    }
}
