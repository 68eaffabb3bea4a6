//! One process of a local cluster.

use super::layout::Seat;
use crate::role::END_WITH_STDIN;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// What a process says on stdout once it listens.
const LISTENING: &str = "listening on ";
/// It starts within this time: a tablet server waits for a master, a gateway for a catalog.
const START_WITHIN: Duration = Duration::from_secs(120);
/// A process that was told to end is killed after this time.
const KILL_AFTER: Duration = Duration::from_secs(35);

/// A running process. It ends with its stdin, so also when this process is killed; dropped, it is killed.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Member {
    /// Starts `stele` with these arguments at a seat, and waits until it listens. It logs to a file of `dir`.
    pub async fn start(dir: &Path, seat: &mut Seat, arguments: &[&str]) -> Result<Self> {
        let path = dir.join(format!("{}.log", seat.name));
        let log = File::options().create(true).append(true).open(&path).with_context(|| format!("cannot open '{}'", path.display()))?;
        let mut command = Command::new(std::env::current_exe().context("cannot find the own binary")?);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_a_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.args(arguments).args(["--listen", &seat.address.to_string()]).env(END_WITH_STDIN, "1");
        // Ctrl-C goes to a whole group of processes; they are to end in order.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", seat.name))?;
        let listening = tokio::time::timeout(START_WITHIN, wait_until_it_listens(&mut child)).await;
        match listening {
            Ok(Ok(())) => {}
            Ok(Err(e)) => bail!("{} does not start ({e}); its log '{}' ends with: {}", seat.name, path.display(), last_line(&path)),
            Err(_) => bail!("{} does not listen after {} s; see '{}'", seat.name, START_WITHIN.as_secs(), path.display()),
        }
        seat.pid = child.id();
        Ok(Self { name: seat.name.clone(), stdin: child.stdin.take(), child })
    }

    /// Returns when it has ended.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        // It would close a stdin that is the child's, which tells it to end; this one is not.
        Ok(self.child.wait().await?)
    }

    /// Tells it to end, waits, and kills it if it does not. Whether it ended well.
    pub async fn end(mut self) -> bool {
        drop(self.stdin.take());
        match tokio::time::timeout(KILL_AFTER, self.child.wait()).await {
            Ok(status) => status.is_ok_and(|s| s.success()),
            Err(_) => {
                // Gone already is as good.
                let _ = self.child.kill().await;
                false
            }
        }
    }
}

/// Settings of this process's environment are not meant for all roles at once.
fn is_a_setting(name: &str) -> bool {
    name.starts_with("STELE_") && name != "STELE_LOG"
}

async fn wait_until_it_listens(child: &mut Child) -> Result<()> {
    let mut lines = BufReader::new(child.stdout.take().context("it has no stdout")?).lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with(LISTENING) {
            // Read on, so that it never waits for its stdout.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(());
        }
    }
    bail!("{}", child.wait().await?)
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().next_back().unwrap_or_default().to_owned()
}
