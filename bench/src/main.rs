//! Compares Stele's storage engine with its peers, and measures what it promises alone. See `bench/README.md`.

mod checksum;
mod codec;
mod columns;
mod engines;
mod events;
mod machine;
mod report;
mod store;
mod workloads;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use engines::EngineName;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use workloads::compare::{self, Plan};
use workloads::{Workload, amplification, build, definitions, history, increments, latency, reopen};

#[derive(Debug, Parser)]
#[command(about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All engines on the same rows; prints ratios.
    Compare(CompareArgs),
    /// One read workload on the given engines (default: Stele) again and again, for a profiler to watch.
    Repeat {
        #[command(flatten)]
        args: CompareArgs,
        /// For how long.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Bytes written to SSTables for each byte flushed, at 100 memtables of uniform writes.
    Amplification(Folder),
    /// Cached point reads at a fixed load, with and without a compaction beside them.
    Latency {
        #[command(flatten)]
        folder: Folder,
        /// Rows in the tablet.
        #[arg(long, default_value_t = 300_000)]
        rows: usize,
        /// How often both are measured.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// A one-day scan and a change scan with 1, 10 and 100 days of history.
    History {
        #[command(flatten)]
        folder: Folder,
        /// Rows of one day.
        #[arg(long, default_value_t = 10_000)]
        rows_a_day: usize,
    },
    /// Increments of one counter by many clients, over a store with slow puts.
    Increments {
        #[command(flatten)]
        folder: Folder,
        /// Clients at once.
        #[arg(long, default_value_t = 500)]
        clients: usize,
        /// Increments of each.
        #[arg(long, default_value_t = 20)]
        each: usize,
        /// How much longer each put to the store takes, ms.
        #[arg(long, default_value_t = 100)]
        put_millis: u64,
    },
    /// Validates a project of many derived tables, cold and after edits.
    Definitions {
        #[command(flatten)]
        folder: Folder,
        /// A release build of the `stele` binary.
        #[arg(long)]
        stele: PathBuf,
        /// The DAG as neutral JSON: `{models: [{name, sql}]}`.
        #[arg(long)]
        dag: PathBuf,
    },
    /// Builds two days of a DAG of derived tables, beside bare DuckDB on the same statements.
    Build {
        #[command(flatten)]
        folder: Folder,
        /// A release build of the `stele` binary.
        #[arg(long)]
        stele: PathBuf,
        /// The harness that makes the DAG and runs it on bare DuckDB.
        #[arg(long)]
        peers: PathBuf,
        /// A Python that has DuckDB.
        #[arg(long, default_value = "python3")]
        python: PathBuf,
        /// How many tables.
        #[arg(long, default_value_t = 1_000)]
        tables: usize,
    },
    /// Opens a large tablet.
    Reopen {
        #[command(flatten)]
        folder: Folder,
        /// MiB of rows.
        #[arg(long, default_value_t = 10_240)]
        mib: usize,
        /// How often it is opened.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

#[derive(Debug, Args)]
struct Folder {
    /// Where the engines' folders are made; default: the system's temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Folder {
    /// A new folder that goes with what is returned.
    fn make(&self) -> Result<tempfile::TempDir> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        tempfile::Builder::new().prefix("stele-bench").tempdir_in(&parent).with_context(|| format!("make a folder in {}", parent.display()))
    }
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Rows to write.
    #[arg(long, default_value_t = 600_000)]
    rows: usize,
    /// How often everything is done.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Point reads of each kind a round; default: a twelfth of the rows.
    #[arg(long)]
    reads: Option<usize>,
    /// Clients at once.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Only these engines.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<EngineName>,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Block cache of each engine, MiB.
    #[arg(long, default_value_t = 1024)]
    cache_mib: u64,
    /// Write buffer of each engine, MiB.
    #[arg(long, default_value_t = 64)]
    memtable_mib: usize,
    /// Gives Stele's table a time column, which cuts it into slices.
    #[arg(long)]
    sliced: bool,
    #[command(flatten)]
    folder: Folder,
    /// Also writes the table here.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime: Arc<Runtime> = Arc::new(Builder::new_multi_thread().worker_threads(2).enable_all().build()?);
    match cli.command {
        Command::Repeat { args, seconds } => repeat(&args, seconds, &runtime),
        Command::Compare(args) => compare(&args, &runtime),
        Command::Amplification(folder) => {
            let dir = folder.make()?;
            runtime.block_on(amplification::run(dir.path().to_owned()))
        }
        Command::Latency { folder, rows, rounds } => {
            let dir = folder.make()?;
            runtime.block_on(latency::run(dir.path().to_owned(), latency::Sizes { rows, rounds }))
        }
        Command::History { folder, rows_a_day } => {
            let dir = folder.make()?;
            runtime.block_on(history::run(dir.path(), history::Sizes { rows_a_day, days: [1, 10, 100] }))
        }
        Command::Increments { folder, clients, each, put_millis } => {
            let dir = folder.make()?;
            let put_delay = Duration::from_millis(put_millis);
            runtime.block_on(increments::run(dir.path().to_owned(), increments::Sizes { clients, each, put_delay }))
        }
        Command::Definitions { folder, stele, dag } => definitions::run(folder.make()?.path(), &stele, &dag),
        Command::Build { folder, stele, peers, python, tables } => {
            build::run(folder.make()?.path(), &build::Means { stele, peers, python, tables })
        }
        Command::Reopen { folder, mib, rounds } => {
            let dir = folder.make()?;
            runtime.block_on(reopen::run(dir.path().to_owned(), reopen::Sizes { mib, rounds }))
        }
    }
}

fn or_all<T: ValueEnum + Copy>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() { T::value_variants().to_vec() } else { chosen.to_vec() }
}

fn plan_of(args: &CompareArgs, dir: &Path) -> Plan {
    Plan {
        rows: args.rows,
        rounds: args.rounds,
        reads: args.reads.unwrap_or(args.rows / 12).max(100),
        threads: args.threads.max(1),
        engines: or_all(&args.engines),
        workloads: or_all(&args.workloads),
        dir: dir.to_owned(),
        cache_bytes: args.cache_mib << 20,
        memtable_bytes: args.memtable_mib << 20,
        sliced: args.sliced,
    }
}

fn repeat(args: &CompareArgs, seconds: u64, runtime: &Arc<Runtime>) -> Result<()> {
    let dir = args.folder.make()?;
    let mut plan = plan_of(args, dir.path());
    if args.engines.is_empty() {
        plan.engines = vec![EngineName::Stele];
    }
    let workload = *plan.workloads.first().context("no workload is named")?;
    compare::repeat(&plan, runtime, workload, seconds)
}

fn compare(args: &CompareArgs, runtime: &Arc<Runtime>) -> Result<()> {
    let dir = args.folder.make()?;
    let plan = plan_of(args, dir.path());
    let machine = machine::describe();
    eprintln!("{machine}");
    let results = compare::run(&plan, runtime)?;
    let table = format!(
        "{machine}.\n{} rows, {} a batch, {} clients, {} MiB of cache, {} MiB of write buffer.\n\n{}",
        plan.rows,
        compare::BATCH,
        plan.threads,
        args.cache_mib,
        args.memtable_mib,
        results.markdown()
    );
    println!("{table}");
    results.missed().iter().for_each(|m| println!("missed: {m}"));
    args.markdown.as_ref().map_or(Ok(()), |path| std::fs::write(path, table).with_context(|| format!("write {}", path.display())))
}
