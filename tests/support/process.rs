use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::DEADLINE;

/// The built binary, or the one that `STELE_TEST_BINARY` names, without any setting of the caller's environment.
pub fn stele() -> Command {
    let binary = std::env::var_os("STELE_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_stele").into());
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STELE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Commands whose output is kept.
pub trait Logged {
    /// Appends stdout and stderr to a file.
    fn logged(&mut self, log: &Path) -> &mut Self;
}

impl Logged for Command {
    fn logged(&mut self, log: &Path) -> &mut Self {
        let file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        self.stdout(file.try_clone().unwrap()).stderr(file)
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// Runs to the end.
    pub fn of(command: &mut Command) -> Self {
        let done = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
    }

    /// Fails the test unless it ended well; gives its stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self.out
    }

    /// Fails the test unless it failed with a message that holds all of `words`.
    #[track_caller]
    pub fn fails_with(&self, words: &[&str]) {
        assert!(self.code.is_some_and(|c| c != 0), "it should fail; stdout:\n{}\nstderr:\n{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "stderr lacks '{word}':\n{}", self.err);
        }
    }
}

/// Whether the thread of a `stat` file of `/proc` is stopped; one that has ended is as well.
fn is_stopped(stat: &Path) -> bool {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    // The name may hold anything, brackets included.
    text.is_empty() || text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 'X', 'Z']))
}

/// A role that runs, and says where it listens. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// `host:port`.
    pub address: String,
}

impl Running {
    /// Starts, and waits for the line `listening on …`. Logs go to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log_file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log_file).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                if let Some(address) = line.trim().strip_prefix("listening on ") {
                    // The test may have given up.
                    let _ = sender.send(address.to_owned());
                    break;
                }
                line.clear();
            }
            // Read on, so that the process never waits for its stdout.
            let _ = lines.read_to_end(&mut Vec::new());
        });
        let address = receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("{command:?} does not say where it listens:\n{}", std::fs::read_to_string(log).unwrap_or_default())
        });
        Self { child, address }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a power loss would: nothing can be said or written any more.
    pub fn kill(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for a clean end.
    pub fn end(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = super::wait_for("a clean end", || self.child.try_wait().unwrap());
        assert!(ended.success(), "ended with {ended}");
    }

    /// Waits until it ends by itself; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        super::wait_for("the end of a process", || self.child.try_wait().unwrap()).code()
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// SIGSTOP, and waits until no thread of it runs: on a busy machine some go on for a while after the signal was sent.
    pub fn pause(&self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        super::wait_for("all threads to stop", || {
            let mut threads = std::fs::read_dir(&threads).unwrap().filter_map(Result::ok);
            threads.all(|thread| is_stopped(&thread.path().join("stat"))).then_some(())
        });
    }

    /// SIGCONT, after [`Self::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How long one HTTP request of a test may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
