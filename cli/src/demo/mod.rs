//! `stele demo`: the main job of an example, from events to derived tables, shown step by step.
//!
//! `script`, `screen` → `memory`, `load`, `show`, `late` → here.

mod late;
mod load;
mod memory;
mod screen;
mod script;
mod show;

pub use script::Script;

use crate::client::Client;
use crate::project::Project;
use crate::role::{Ends, Local, print_urls};
use crate::{derived, logging, print, table};
use anyhow::{Context, Result};
use clap::Args;
use memory::Memory;
use screen::Screen;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Options of `stele demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// A built-in example (game, chat, github), or the path of a project with a demo.yaml.
    #[arg(long, default_value = "game")]
    example: String,
    /// Files with events, NDJSON or CSV, plain or gzip, instead of the example's generator.
    #[arg(long, num_args = 1..)]
    events: Vec<PathBuf>,
    /// Folder of all data; a second demo on it goes on where the first ended.
    #[arg(long, default_value = "./stele-demo")]
    dir: PathBuf,
    /// Where HTTP listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// End after the last step instead of staying up.
    #[arg(long)]
    exit: bool,
    /// Events to generate, or lines of the files to take.
    #[arg(long)]
    count: Option<usize>,
}

/// Plays the demo.
pub async fn run(args: DemoArgs) -> Result<ExitCode> {
    logging::start("warn")?;
    let project = Project::example(&args.example)?;
    let script = Script::parse(project.script()?)?;
    let feed = load::Feed::new(&script, &args.events, args.count)?;
    let screen = Screen::new();

    let began = Instant::now();
    let local = Local::start(&args.dir, args.listen).await?;
    let mut ends = Ends::listen()?;
    let demo = Demo { project, script, screen, client: Client::new(&format!("http://{}", reachable(local.address())))? };
    demo.screen.title(&demo.script.title)?;
    demo.screen.done(&format!("all roles run in this process on '{}'", args.dir.display()), began.elapsed())?;

    // Ctrl-C ends the demo at any step; the roles are then shut down as at its end.
    let code = tokio::select! {
        played = demo.play(&args, feed, began) => played?,
        () = ends.told() => ExitCode::SUCCESS,
    };
    if !args.exit && code == ExitCode::SUCCESS {
        demo.screen.section("Go on")?;
        print_urls(reachable(local.address()))?;
        demo.screen.text(&format!("stele sql --url {} \"select * from system.runs limit 5\"", demo.client.base()))?;
        demo.screen.text("Ctrl-C ends.")?;
        ends.told().await;
    }
    let ended = ends.end(local.shutdown()).await.context("the roles did not end cleanly")?;
    Ok(if ended == ExitCode::SUCCESS { code } else { ended })
}

/// Everything that a step needs.
struct Demo {
    project: Project,
    script: Script,
    screen: Screen,
    client: Client,
}

impl Demo {
    async fn play(&self, args: &DemoArgs, feed: load::Feed, began: Instant) -> Result<ExitCode> {
        let mut memory = Memory::open(&args.dir, &self.project.name, feed.identity())?;
        self.screen.section("Load")?;
        for spec in self.project.sources()? {
            table::create(&self.client, &spec).await.with_context(|| format!("cannot create table '{}'", spec.name))?;
        }
        let loaded = load::run(self, feed, &mut memory).await?;

        self.screen.section("Derive")?;
        let started = Instant::now();
        let applied = derived::apply(&self.client, &self.project.definitions()?).await.context("cannot apply the derived tables")?;
        self.screen.done(&format!("{} applied", print::count(applied.len() as u64, "derived table")), started.elapsed())?;
        let started = Instant::now();
        if let Some(failed) = derived::wait_fresh(&self.client, &applied).await? {
            self.screen.text(&failed)?;
            return Ok(ExitCode::FAILURE);
        }
        self.screen.done("all are fresh", started.elapsed())?;

        show::run(self).await?;
        late::run(self, &mut memory, &applied).await?;
        self.screen.blank()?;
        let code = if loaded.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        self.screen.done("the demo is played", began.elapsed())?;
        Ok(code)
    }
}

/// An address to connect to: who listens everywhere is also here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port()) } else { listen }
}
