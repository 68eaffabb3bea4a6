//! `stele cluster`: a cluster of real processes on this machine, for trying and for tests.
//!
//! Parts, one way: `layout` (who listens where, in a file), `member` (one process) → `local`.

mod layout;
mod local;
mod member;

use anyhow::Result;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Run masters, tablet servers and gateways as processes on this machine until told to end.
    ///
    /// Each has a folder and a log file under the cluster's folder. `cluster.json` there says who listens where and which
    /// process it is; the line `ready` on stdout says that all of them have started. A second start on the same folder goes on
    /// where the first one was. A process that ends is named and not started again; Ctrl-C ends gateways, then tablet
    /// servers, then masters.
    Local(LocalArgs),
}

/// Options of `stele cluster local`.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// Master processes: 1, 3 or 5.
    #[arg(long, default_value_t = 3, value_parser = odd)]
    masters: u16,
    /// Tablet server processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    tabletservers: u16,
    /// Gateway processes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    gateways: u16,
    /// The object store: s3://…, gs://…, az://… or a folder [default: a folder under --dir].
    #[arg(long, visible_alias = "s3", value_name = "URL")]
    store: Option<String>,
    /// Folder of the processes' folders, logs and addresses.
    #[arg(long, default_value = "./stele-cluster")]
    dir: PathBuf,
    /// Where the first gateway's HTTP listens, the others on the ports after it; port 0: free ones.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

fn odd(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(n @ (1 | 3 | 5)) => Ok(n),
        _ => Err("write 1, 3 or 5: a group of masters decides by majority".into()),
    }
}

/// Does it.
pub async fn run(command: ClusterCommand) -> Result<ExitCode> {
    match command {
        ClusterCommand::Local(args) => local::run(args).await,
    }
}
