//! The folders of a server's logs.

use crate::format::{LogName, names};
use common::ids::Incarnation;
use common::{Error, Result};
use std::fs;
use std::path::Path;

fn failed(what: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::unavailable(format!("cannot {what} '{}': {e}", path.display()))
}

/// Whether this log has a folder.
pub(crate) fn log_exists(log_dir: &Path, log: LogName) -> bool {
    names::log_folder(log_dir, log).is_dir()
}

/// Incarnations of `own.server` that have a log and are not `own`.
pub(crate) fn incarnations(log_dir: &Path, own: LogName) -> Result<Vec<LogName>> {
    let found = numbered(&names::server_folder(log_dir, own))?.unwrap_or_default();
    let logs = found.into_iter().map(|n| LogName { server: own.server, incarnation: Incarnation(n) });
    Ok(logs.filter(|l| *l != own).collect())
}

/// Deletes a dead log, newest segment last, so that what is left of an interrupted deletion has no gap.
pub(crate) fn remove_log(log_dir: &Path, log: LogName) -> Result<()> {
    let folder = names::log_folder(log_dir, log);
    let mut numbers = numbered(&folder)?.unwrap_or_default();
    numbers.sort_unstable();
    for number in numbers {
        fail::fail_point!("dead-log-delete", |_| Err(Error::unavailable("failpoint: dead-log-delete")));
        let path = folder.join(names::segment(number));
        fs::remove_file(&path).map_err(|e| failed("delete", &path, &e))?;
    }
    match fs::remove_dir(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("delete", &folder, &e)),
        _ => Ok(()),
    }
}

fn numbered(folder: &Path) -> Result<Option<Vec<u64>>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("list", folder, &e)),
    };
    let names = entries.map(|entry| entry.map(|e| e.file_name()).map_err(|e| failed("list", folder, &e)));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(Some(names.iter().filter_map(|n| n.to_str()?.parse().ok()).collect()))
}

/// Creates a folder and those above it, each durable in its parent.
pub(super) fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(failed("create", folder, &e)),
        _ => folder.parent().map_or(Ok(()), sync_folder),
    }
}

pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    // The parent of a relative one-part path is the empty path.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| failed("sync", folder, &e))
}
