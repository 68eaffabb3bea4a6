//! What the tests of the built binary share: clusters on free ports in a folder, an HTTP helper, the real data.
//!
//! Nothing here sleeps for a fixed time: every wait is for a condition, with a deadline.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod azurite;
mod cluster;
pub mod direct;
pub mod faults;
pub mod history;
mod http;
pub mod links;
mod many;
pub mod marks;
mod ministack;
mod process;
mod proxy;
mod tools;
mod usage;
pub mod writers;

pub use azurite::Azurite;
pub use cluster::{Cluster, Role};
pub use http::Http;
pub use many::Many;
pub use ministack::{Bucket, Ministack};
pub use process::{Finished, stele};
pub use proxy::{CarelessS3, Mood, Proxy};
pub use usage::Usage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Waits end here: a debug build on a busy machine is slow, a hang is longer.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The folder of the real data sets; without it, says that `test` is skipped.
pub fn data_dir(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("STELE_TEST_DATA").map(PathBuf::from);
    if found.is_none() {
        skipped(test, "STELE_TEST_DATA is not set");
    }
    found
}

/// Says so where the test harness does not hide it.
pub fn skipped(test: &str, why: &str) {
    use std::io::Write;
    // A test that cannot say it is skipped as well.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Polls `done` until it gives something; fails after [`DEADLINE`], saying what it waited for.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The path of a file of an example project.
pub fn example(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(path)
}
