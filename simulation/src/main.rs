//! `simulation SEED [--trace FILE] [--forgetful]`: one run. Prints what became of it, and writes its events to FILE; ends with 1 if
//! something was wrong. With `--forgetful` the store loses what it has acknowledged, so that something must be wrong.
//!
//! One run a process: nothing is left of an earlier one, and the C library's randomness is the run's own (`random.c`).

use anyhow::{Context, Result, bail};
use simulation::plan::Plan;
use simulation::{Outcome, run};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::Duration;

/// Set in the process that runs: the seed of the C library's randomness.
const RANDOM: &str = "STELE_SIM_RANDOM";
/// The run's thread: unoptimised futures are deep.
const STACK_BYTES: usize = 64 << 20;
/// In real time, far more than a run takes: then virtual time stands still, because something goes round in circles.
const LONGEST: Duration = Duration::from_secs(300);

struct Args {
    seed: u64,
    trace: Option<PathBuf>,
    forgetful: bool,
}

impl Args {
    fn read() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let text = args.next().context("usage: simulation SEED [--trace FILE] [--forgetful]")?;
        let seed = text.parse().with_context(|| format!("seed '{text}' is not a whole number"))?;
        let mut read = Self { seed, trace: None, forgetful: false };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--trace" => read.trace = Some(args.next().context("--trace is without a file")?.into()),
                "--forgetful" => read.forgetful = true,
                other => bail!("'{other}' is no option: there are --trace FILE and --forgetful"),
            }
        }
        Ok(read)
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::read()?;
    if std::env::var(RANDOM).ok() != Some(args.seed.to_string()) {
        // The same program, from its beginning.
        let mut again = Command::new(std::env::current_exe()?);
        return Err(again.args(std::env::args_os().skip(1)).env(RANDOM, args.seed.to_string()).exec().into());
    }
    let outcome = run_on_a_thread(args)?;
    print!("{outcome}");
    Ok(if outcome.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A new thread, because hash keys and generators are a thread's.
fn run_on_a_thread(args: Args) -> Result<Outcome> {
    let Args { seed, trace, forgetful } = args;
    let (tell, ended) = mpsc::channel();
    let body = move || {
        let plan = Plan { forgetful, ..Plan::of(seed) };
        // Nobody waits any more only if this has taken too long.
        let _ = tell.send(run(seed, plan, trace.as_deref()));
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(body)?;
    match ended.recv_timeout(LONGEST) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => bail!("seed {seed}: time has stood still for {LONGEST:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("seed {seed}: the run has panicked"),
    }
}
