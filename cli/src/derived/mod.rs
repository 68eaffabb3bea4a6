//! `stele derived`: a file a group of commands.
//!
//! Modules import one way: `files`, `offline` → `planned`, `status`, `show` → `verify` → all other commands → this one.

mod apply;
mod docs;
mod environments;
mod files;
mod fmt;
mod init;
mod lineage;
mod lint;
mod offline;
mod orders;
mod planned;
mod show;
mod status;
mod test;
mod validate;
mod verify;

pub use files::apply;
pub use status::wait_fresh;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

/// What to do with derived tables.
#[derive(Debug, Subcommand)]
pub enum DerivedCommand {
    /// Write a small project that validates and whose test holds.
    Init(init::InitArgs),
    /// Check all definitions of a folder; nothing is changed.
    Validate(validate::ValidateArgs),
    #[command(flatten)]
    Show(show::ShowCommand),
    /// Show what a table or a column comes from, or what comes from it.
    Lineage(lineage::LineageArgs),
    /// Bring definitions and SQL files into one layout; comments stay. Exit code 2: files changed.
    Fmt(fmt::FmtArgs),
    /// Find what is not wrong and still worth a look. Exit code 2: there is something.
    Lint(offline::ProjectArgs),
    /// Run unit tests: rows in, rows out.
    Test(test::TestArgs),
    /// Write a static site with the DAG and the lineage of columns.
    Docs(docs::DocsArgs),
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
        DerivedCommand::Init(args) => init::run(&args),
        DerivedCommand::Validate(args) => validate::run(args).await,
        DerivedCommand::Show(command) => show::run(command).await,
        DerivedCommand::Lineage(args) => lineage::run(args).await,
        DerivedCommand::Fmt(args) => fmt::run(&args),
        DerivedCommand::Lint(args) => lint::run(args).await,
        DerivedCommand::Test(args) => test::run(args).await,
        DerivedCommand::Docs(args) => docs::run(args).await,
        DerivedCommand::Apply(command) => apply::run(command).await,
        DerivedCommand::Environment(command) => environments::run(command).await,
        DerivedCommand::Status(command) => status::run(command).await,
        DerivedCommand::Orders(command) => orders::run(command).await,
    }
}
