//! How many objects a cluster has put into a store that is a folder: its objects are numbered, so the last one of each
//! place says how many there were, those deleted since included.

use crate::support::Many;
use std::path::Path;

/// Bytes of values of an event, about.
const EVENT_BYTES: f64 = 400.0;

/// By what they hold.
#[derive(Debug, Default)]
pub struct Puts {
    log: u64,
    sstables: u64,
    manifests: u64,
}

impl Puts {
    /// All so far; zeros if the store is not a folder.
    pub fn of(cluster: &Many) -> Self {
        let mut puts = Self::default();
        count(&cluster.bucket(), &mut puts);
        puts
    }

    /// Of so many events.
    pub fn per_mb(&self, events: u64) -> String {
        let each = |puts: u64| per_mb(puts, events);
        let (log, sstables, manifests) = (each(self.log), each(self.sstables), each(self.manifests));
        format!("puts a MB of values: {log:.2} of logs, {sstables:.2} of SSTables, {manifests:.2} of manifests")
    }
}

/// A number of requests by the megabytes of so many events.
pub fn per_mb(requests: u64, events: u64) -> f64 {
    requests as f64 / (events as f64 * EVENT_BYTES / 1e6)
}

fn count(folder: &Path, puts: &mut Puts) {
    let mut last = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            count(&path, puts);
        } else if let Some(number) = path.file_name().and_then(|name| name.to_str()?.rsplit('-').next()?.parse::<u64>().ok()) {
            last = last.max(number);
        }
    }
    let within = |name: &str| folder.components().any(|part| part.as_os_str() == name);
    match () {
        () if within("sst") => puts.sstables += last,
        () if within("manifest") => puts.manifests += last,
        () if within("log") => puts.log += last,
        () => {}
    }
}
