//! `stele cluster local`, and how its processes end.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use support::writers::{Writers, check, create_table};
use support::{DEADLINE, Finished, Http, stele, wait_for};

/// `stele cluster local`, and what it says line by line.
struct Local {
    child: Child,
    lines: Receiver<String>,
}

impl Local {
    fn start(dir: &Path) -> Self {
        let mut command = stele();
        command.args(["cluster", "local", "--masters", "3", "--tabletservers", "2", "--gateways", "2", "--listen", "127.0.0.1:0", "--dir"]);
        let mut child = command.arg(dir).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let local = Self { child, lines };
        local.wait_for("ready");
        local
    }

    /// The line that begins so.
    fn wait_for(&self, start: &str) -> String {
        let until = std::time::Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|e| panic!("no line '{start}…': {e}"));
            if line.starts_with(start) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the cluster", || self.child.try_wait().unwrap())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Its processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

fn layout(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("cluster.json")).unwrap()).unwrap()
}

fn pids(layout: &Value) -> Vec<u32> {
    let roles = ["masters", "tabletservers", "gateways"].iter().flat_map(|role| layout[role].as_array().unwrap().clone());
    roles.filter_map(|seat| seat["pid"].as_u64()).map(|pid| pid as u32).collect()
}

fn gateway(layout: &Value, n: usize) -> String {
    format!("http://{}", layout["gateways"][n]["address"].as_str().unwrap())
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_local_cluster_starts_ends_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut local = Local::start(dir.path());
    let first = layout(dir.path());
    assert_eq!(pids(&first).len(), 7);
    create_table(&Http::new(&gateway(&first, 0)));
    let writers = Writers::start(&gateway(&first, 1));
    writers.wait_for_more(400);
    // A process that is killed is named, and the others go on without it.
    signal(first["tabletservers"][0]["pid"].as_u64().unwrap() as u32, "KILL");
    let named = local.wait_for("tabletserver-1 has ended");
    assert!(named.contains("signal: 9"), "{named}");
    writers.wait_for_more(400);
    let acknowledged = writers.stop();
    local.signal("TERM");
    assert!(local.wait().success());
    assert!(pids(&first).into_iter().all(|pid| !runs(pid)), "{first}");
    assert!(pids(&layout(dir.path())).is_empty());
    // The same folder: all that was there, at the same places.
    let mut local = Local::start(dir.path());
    let second = layout(dir.path());
    assert_eq!(second["masters"][2]["address"], first["masters"][2]["address"]);
    let http = Http::new(&gateway(&second, 0));
    check(&http, &acknowledged);
    local.signal("INT");
    assert!(local.wait().success());
}

#[test]
fn processes_of_a_killed_local_cluster_end_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut local = Local::start(dir.path());
    let started = pids(&layout(dir.path()));
    local.child.kill().unwrap();
    local.child.wait().unwrap();
    wait_for("the end of all processes", || started.iter().all(|pid| !runs(*pid)).then_some(()));
}

#[test]
fn what_cannot_be_is_said_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    Finished::of(stele().args(["cluster", "local", "--masters", "2", "--dir"]).arg(dir.path())).fails_with(&["1, 3 or 5"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Finished::of(stele().args(["cluster", "local", "--listen", &address, "--dir"]).arg(dir.path())).fails_with(&[&address, "--listen"]);
}
