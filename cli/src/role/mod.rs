//! The roles: each alone, or all in one process.

mod local;
mod lock;
mod settings;
mod signal;

pub use local::Local;
pub use settings::{GatewayArgs, MasterArgs, TabletServerArgs};
pub use signal::wait_for_end;

use crate::logging;
use anyhow::{Context, Result};
use clap::Args;
use common::ErrorKind;
use common::time::SystemClock;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a role logs unless told otherwise; openraft's own course is of interest only when it goes wrong.
const ROLE_LOG: &str = "info,openraft=warn";

/// Options of `stele up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Folder of everything: the bucket, the master's state, the tablet server's log.
    #[arg(long, default_value = "./stele-data", env = "STELE_DATA_DIR")]
    dir: PathBuf,
    /// Where HTTP listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", env = "STELE_LISTEN")]
    listen: SocketAddr,
}

/// Runs all roles until told to end.
pub async fn up(args: UpArgs) -> Result<ExitCode> {
    logging::start("warn")?;
    let local = Local::start(&args.dir, args.listen).await?;
    announce(local.address())?;
    print_urls(local.address())?;
    wait_for_end().await?;
    local.shutdown().await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a master until told to end.
pub async fn master(args: MasterArgs) -> Result<ExitCode> {
    logging::start(ROLE_LOG)?;
    let running = master::Master::start(args.config()?, SystemClock::shared()).await.context("the master does not start")?;
    announce(running.local_addr())?;
    wait_for_end().await?;
    running.shutdown().await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a tablet server until told to end. One that was taken for dead begins a new life.
pub async fn tabletserver(args: TabletServerArgs) -> Result<ExitCode> {
    logging::start(ROLE_LOG)?;
    let mut config = args.config()?;
    let mut announced = false;
    loop {
        let started = tabletserver::TabletServer::start(config.clone(), SystemClock::shared()).await;
        let running = started.context("the tablet server does not start")?;
        // Port 0 is a free one once only: others find the next life where this one was.
        config.listen = running.local_addr();
        if !announced {
            announce(running.local_addr())?;
            announced = true;
        }
        tokio::select! {
            told = wait_for_end() => {
                told?;
                running.shutdown().await?;
                return Ok(ExitCode::SUCCESS);
            }
            ended = running.wait() => match ended {
                Err(e) if e.kind == ErrorKind::Fenced => tracing::warn!(error = %e, "a new life of this tablet server begins"),
                other => other?,
            }
        }
    }
}

/// Runs a gateway until told to end.
pub async fn gateway(args: GatewayArgs) -> Result<ExitCode> {
    logging::start(ROLE_LOG)?;
    let running = gateway::Gateway::start(args.config()?, SystemClock::shared()).await.context("the gateway does not start")?;
    announce(running.local_addr())?;
    wait_for_end().await?;
    running.shutdown().await?;
    Ok(ExitCode::SUCCESS)
}

/// The line that scripts wait for.
fn announce(address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    Ok(out.flush()?)
}

/// Where to go on.
pub fn print_urls(address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for (what, path) in [("REST", "/v1/tables"), ("docs", "/docs"), ("OpenAPI", "/openapi.json")] {
        writeln!(out, "  {what:<8} http://{address}{path}")?;
    }
    Ok(out.flush()?)
}
