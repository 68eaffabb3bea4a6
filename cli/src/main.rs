//! `stele`: runs Stele, and talks to it.
//!
//! Modules import one way: `print`, `client`, `logging` → `role`, `sql`, `table`, `rows`, `admin`, `inspect` → `cluster`, `config`,
//! `ingest`, `project` → `derived` → `demo`. Everything but the
//! roles and `inspect` goes over REST, as any other client would.

mod admin;
mod client;
mod cluster;
mod config;
mod demo;
mod derived;
mod exit;
mod ingest;
mod inspect;
mod logging;
mod print;
mod project;
mod role;
mod rows;
mod sql;
mod table;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A wide-column store on object storage that keeps SQL-defined tables up to date.
#[derive(Debug, Parser)]
#[command(name = "stele", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all roles in one process on a local folder.
    Up(role::UpArgs),
    /// Play an example project from events to derived tables, and show it.
    Demo(demo::DemoArgs),
    /// Run a master; found a cluster; restore the masters' state from its copy.
    Master(role::MasterCommand),
    /// Run a tablet server.
    Tabletserver(role::TabletServerArgs),
    /// Run a gateway.
    Gateway(role::GatewayArgs),
    /// Run a cluster of several processes.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Show what can be set, and what is.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Create, list, show and delete tables.
    #[command(subcommand)]
    Table(table::TableCommand),
    /// Read rows by key.
    #[command(subcommand)]
    Rows(rows::RowsCommand),
    /// Load NDJSON or CSV, plain or gzip.
    Ingest(ingest::IngestArgs),
    /// Run a query.
    Sql(sql::SqlArgs),
    /// Verify a stored object, and say what it holds.
    #[command(subcommand)]
    Inspect(inspect::InspectCommand),
    /// See servers and tablets; move, split and merge tablets, drain servers; snapshots, clones and backups of tables.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Validate, apply and follow derived tables.
    #[command(subcommand)]
    Derived(derived::DerivedCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(cli.command)));
    match done {
        Ok(code) => code,
        // The reader of our output has left: nothing is wrong.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => role::up(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Master(args) => role::master(args).await,
        Command::Tabletserver(args) => role::tabletserver(args).await,
        Command::Gateway(args) => role::gateway(args).await,
        Command::Cluster(command) => cluster::run(command).await,
        Command::Config(command) => config::run(command),
        Command::Table(command) => table::run(command).await,
        Command::Rows(command) => rows::run(command).await,
        Command::Ingest(args) => ingest::run(args).await,
        Command::Sql(args) => sql::run(args).await,
        Command::Inspect(command) => inspect::run(command).await,
        Command::Admin(command) => admin::run(command).await,
        Command::Derived(command) => derived::run(command).await,
    }
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
