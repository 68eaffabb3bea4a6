//! When a process is told to end, and how it does.

use anyhow::Result;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// A process that was told to end does so within this time: what supervisors usually wait before they kill.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Set: the end of stdin tells the process to end too. Whoever started it may be killed and say nothing more.
pub const END_WITH_STDIN: &str = "STELE_END_WITH_STDIN";

/// What tells a process to end: SIGTERM, Ctrl-C and, if asked for, the end of stdin. From its making on, no signal ends the
/// process by itself.
#[derive(Debug)]
pub struct Ends {
    terminate: Signal,
    interrupt: Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Ends {
    /// Listens from now on.
    pub fn listen() -> Result<Self> {
        let stdin = std::env::var_os(END_WITH_STDIN).map(|_| end_of_stdin()).transpose()?;
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, stdin })
    }

    /// Returns when the process is told to end, once for each time.
    pub async fn told(&mut self) {
        let stdin = async {
            match &mut self.stdin {
                Some(ended) => _ = ended.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            // Once only: an end is for ever.
            () = stdin => self.stdin = None,
        }
    }

    /// Shuts down, at most for [`END_WITHIN`]; who is told again meanwhile ends at once. Both keep what is durable, as a
    /// kill does.
    pub async fn end(&mut self, shutdown: impl Future<Output = Result<()>>) -> Result<ExitCode> {
        tokio::select! {
            ended = tokio::time::timeout(END_WITHIN, shutdown) => match ended {
                Ok(done) => done.map(|()| ExitCode::SUCCESS),
                Err(_) => at_once(&format!("the shutdown takes longer than {} s", END_WITHIN.as_secs())),
            },
            () = self.told() => at_once("told to end a second time"),
        }
    }
}

/// Waits for nothing, not even for threads that wait for a disk.
fn at_once(why: &str) -> ! {
    eprintln!("error: {why}: the process ends at once");
    std::process::exit(1)
}

/// On a thread of its own, for a read of stdin cannot be given up.
fn end_of_stdin() -> Result<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    let read = move || {
        let (mut stdin, mut ignored) = (std::io::stdin().lock(), [0; 256]);
        while stdin.read(&mut ignored).is_ok_and(|n| n > 0) {}
        // Nobody may listen any more.
        let _ = tell.send(());
    };
    std::thread::Builder::new().name("stdin".into()).spawn(read)?;
    Ok(told)
}
