//! Programs that tests install for themselves, once for all checkouts.

use super::wait_for;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A tool's folder, filled by `install` when it is first needed; or why it cannot be had.
pub fn folder(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let folder = cache()?.join(name);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let lock = File::create(folder.join("lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let complete = folder.join("complete");
    if !complete.exists() {
        install(&folder)?;
        File::create(complete).map_err(|e| e.to_string())?;
    }
    Ok(folder)
}

/// Outlives a checkout, so that a fresh one does not load everything again.
fn cache() -> Result<PathBuf, String> {
    let named = std::env::var_os("STELE_TEST_TOOLS").map(PathBuf::from);
    let usual = || std::env::var_os("XDG_CACHE_HOME").map(|c| PathBuf::from(c).join("stele-test-tools"));
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache/stele-test-tools"));
    named.or_else(usual).or_else(home).ok_or_else(|| "no folder for it: set STELE_TEST_TOOLS".into())
}

/// Runs to the end; or what it said last.
pub fn run(command: &mut Command) -> Result<(), String> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(said.lines().last().unwrap_or("it failed").to_owned())
}

/// A free port that stays free for a restart: below those that the system gives away, also to clients that look for it.
pub fn lasting_port() -> u16 {
    let candidate =
        || Some(15_000 + (common::store::nonce() % 15_000) as u16).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    wait_for("a free port", candidate)
}

/// Runs to the end on this thread.
pub fn block_on<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}
