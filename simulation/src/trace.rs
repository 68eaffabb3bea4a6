//! What happened, in order, as one number: two runs with equal traces were the same run.

use std::fmt::{Arguments, Write as _};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// Takes note of each message, store request, fault and answer, with its virtual time. Clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    hash: Xxh3,
    events: u64,
    line: String,
    /// Where the events are written in full, for comparing two runs that differ.
    file: Option<BufWriter<File>>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trace")
    }
}

impl Trace {
    /// An empty trace; with `file` each event is written there too.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new(file: Option<&Path>) -> std::io::Result<Self> {
        let file = file.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self(Arc::new(Mutex::new(Inner { hash: Xxh3::new(), events: 0, line: String::new(), file }))))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that `host` does or meets.
    pub fn note(&self, host: &str, what: Arguments<'_>) {
        let at = turmoil::sim_elapsed().unwrap_or(Duration::ZERO).as_micros();
        let inner = &mut *self.lock();
        inner.line.clear();
        // Writing to a string cannot fail.
        let _ = writeln!(inner.line, "{at} {host} {what}");
        inner.hash.update(inner.line.as_bytes());
        inner.events += 1;
        if let Some(file) = &mut inner.file {
            // It is for people only.
            let _ = file.write_all(inner.line.as_bytes());
        }
    }

    /// Hash and number of all events so far.
    #[must_use]
    pub fn digest(&self) -> (u64, u64) {
        let mut inner = self.lock();
        if let Some(file) = &mut inner.file {
            let _ = file.flush();
        }
        (inner.hash.digest(), inner.events)
    }
}
