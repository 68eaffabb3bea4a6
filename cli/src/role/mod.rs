//! The roles: each alone, or all in one process.

mod file;
mod local;
mod lock;
mod schema;
mod settings;
mod signal;

pub use local::Local;
pub use lock::FolderLock;
pub use schema::{Field, Kind, RoleConfig, fields, schema};
pub use settings::{GatewayArgs, MasterArgs, Settings, TabletServerArgs};
pub use signal::{END_WITH_STDIN, Ends};

use crate::logging;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use common::ErrorKind;
use common::config::TabletServerConfig;
use common::rpc::net::Tcp;
use common::time::SystemClock;
use master::Report;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What a role logs unless told otherwise; openraft's own course is of interest only when it goes wrong.
const ROLE_LOG: &str = "info,openraft=warn";
/// Pause between attempts to begin a further life.
const START_AGAIN: Duration = Duration::from_secs(1);

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
    let mut ends = Ends::listen()?;
    let Some(local) = unless_told(&mut ends, Local::start(&args.dir, args.listen)).await? else { return Ok(ExitCode::SUCCESS) };
    announce(local.address())?;
    print_urls(local.address())?;
    ends.told().await;
    ends.end(local.shutdown()).await
}

/// `stele master`: runs one, founds a cluster, or brings a cluster's state back.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct MasterCommand {
    #[command(subcommand)]
    command: Option<MasterVerb>,
    #[command(flatten)]
    settings: MasterArgs,
}

#[derive(Debug, Subcommand)]
enum MasterVerb {
    /// Found a new cluster: on a store that has none, with an empty data folder. Once; then start the master with the same settings.
    Init(MasterArgs),
    /// Bring the state back into an empty data folder from its copy in the object store, when all masters have lost their folders.
    ///
    /// Takes the settings that the master is then started with. Others join it afterwards, as new ones.
    Restore(MasterArgs),
}

/// Runs a master, or does what else was asked.
pub async fn master(args: MasterCommand) -> Result<ExitCode> {
    match args.command {
        None => run_master(args.settings).await,
        Some(MasterVerb::Init(settings)) => {
            let cluster = master::found(&settings.config()?).await.context("no cluster is founded")?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "cluster {cluster} is founded: start `stele master` with the same settings")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(MasterVerb::Restore(settings)) => restore_master(&settings).await,
    }
}

async fn restore_master(args: &MasterArgs) -> Result<ExitCode> {
    logging::start("warn")?;
    let config = args.config()?;
    let done = master::restore(&config, &Tcp::shared(), SystemClock::shared().now()).await;
    let Report { cluster, node, copied, restored } = done.context("nothing was restored")?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "cluster {cluster} is restored from the copy at entry {copied}, as master node {node}: {} tables, {} tablets",
        restored.tables, restored.tablets
    )?;
    for (tablet, server) in &restored.on_volumes {
        writeln!(out, "tablet {tablet} waits for server {server}, whose volume has rows that are not flushed")?;
    }
    for tablet in &restored.unknown {
        writeln!(out, "tablet {tablet} belongs to no table: its objects stay under tablets/{tablet}")?;
    }
    writeln!(out, "start `stele master` on {} now", config.data_dir.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a master until told to end, or until its Raft cannot go on.
async fn run_master(args: MasterArgs) -> Result<ExitCode> {
    logging::start(ROLE_LOG)?;
    let (config, mut ends) = (args.config()?, Ends::listen()?);
    let starting = async {
        master::check_founded(&config).await.context("the master does not start")?;
        master::Master::start(config, SystemClock::shared()).await.context("the master does not start")
    };
    let Some(running) = unless_told(&mut ends, starting).await? else { return Ok(ExitCode::SUCCESS) };
    announce(running.local_addr())?;
    tokio::select! {
        () = ends.told() => {}
        why = running.failed() => return Err(why).context("the master has failed"),
    }
    ends.end(async { Ok(running.shutdown().await?) }).await
}

/// Runs a tablet server until told to end. One that was taken for dead begins a new life.
pub async fn tabletserver(args: TabletServerArgs) -> Result<ExitCode> {
    logging::start(ROLE_LOG)?;
    let (mut config, mut ends) = (args.config()?, Ends::listen()?);
    let mut announced = false;
    loop {
        let starting = start_tabletserver(&config, announced);
        let Some(running) = unless_told(&mut ends, starting).await? else { return Ok(ExitCode::SUCCESS) };
        // Port 0 is a free one once only: others find the next life where this one was.
        config.listen = running.local_addr();
        if !announced {
            announce(running.local_addr())?;
            announced = true;
        }
        tokio::select! {
            () = ends.told() => return ends.end(async { Ok(running.shutdown().await?) }).await,
            ended = running.wait() => match ended {
                Err(e) if e.kind == ErrorKind::Fenced => tracing::warn!(error = %e, "a new life of this tablet server begins"),
                other => other?,
            }
        }
    }
}

/// A life of a tablet server. A first one says what is wrong; a later one has run with these settings before, so it waits
/// for what does not answer now.
async fn start_tabletserver(config: &TabletServerConfig, again: bool) -> Result<tabletserver::TabletServer> {
    loop {
        match tabletserver::TabletServer::start(config.clone(), SystemClock::shared()).await {
            Err(e) if again && e.kind == ErrorKind::Unavailable => {
                tracing::warn!(error = %e, "the tablet server does not start; it tries again");
                tokio::time::sleep(START_AGAIN).await;
            }
            started => return started.context("the tablet server does not start"),
        }
    }
}

/// Runs a gateway until told to end.
pub async fn gateway(args: GatewayArgs) -> Result<ExitCode> {
    logging::start(ROLE_LOG)?;
    let (config, mut ends) = (args.config()?, Ends::listen()?);
    let starting = async { gateway::Gateway::start(config, SystemClock::shared()).await.context("the gateway does not start") };
    let Some(running) = unless_told(&mut ends, starting).await? else { return Ok(ExitCode::SUCCESS) };
    announce(running.local_addr())?;
    ends.told().await;
    ends.end(async { Ok(running.shutdown().await?) }).await
}

/// What starts, unless the process is told to end before.
async fn unless_told<T>(ends: &mut Ends, starting: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    tokio::select! {
        () = ends.told() => Ok(None),
        started = starting => started.map(Some),
    }
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
