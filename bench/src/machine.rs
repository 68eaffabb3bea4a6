//! What the kernel says about this process and this machine. Linux only; elsewhere counters are zero.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often activity is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Without activity for this long, nothing goes on any more.
const QUIET: Duration = Duration::from_millis(400);
/// Processor ticks of 10 ms within [`QUIET`] that polling for work may cost.
const IDLE_TICKS: u64 = 3;

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.trim_start_matches(':').trim().parse().ok()).unwrap_or_default()
}

/// Bytes that this process has handed to the kernel to write.
#[must_use]
pub fn bytes_written() -> u64 {
    field(&fs::read_to_string("/proc/self/io").unwrap_or_default(), "wchar")
}

/// Processor ticks of 10 ms that this process has used.
fn ticks() -> u64 {
    two_of_stat("self", 11)
}

/// Processor ticks of 10 ms that another process has used.
#[must_use]
pub fn ticks_of(process: u32) -> u64 {
    two_of_stat(&process.to_string(), 11)
}

/// Processor ticks of 10 ms that processes have used which this one started and waited for.
#[must_use]
pub fn children_ticks() -> u64 {
    two_of_stat("self", 13)
}

/// User and system time from `/proc/…/stat`, from this field after the name on.
fn two_of_stat(process: &str, first: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(first).take(2).filter_map(|t| t.parse::<u64>().ok()).sum()
}

/// The most memory that another process has held so far, KiB; 0 once it has ended.
#[must_use]
pub fn peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or_default()
}

/// Waits until background work has ended: neither has `counter` moved for a while nor has the process used its
/// processors. The moment when that began.
#[must_use]
pub fn wait_until_quiet(counter: impl Fn() -> u64) -> Instant {
    let mut last = Instant::now();
    let mut seen = (counter(), bytes_written(), ticks());
    loop {
        sleep(LOOK);
        let now = (counter(), bytes_written(), ticks());
        if now.0 != seen.0 || now.1 > seen.1 + (64 << 10) || now.2 > seen.2 + IDLE_TICKS {
            (last, seen) = (Instant::now(), now);
        } else if last.elapsed() >= QUIET {
            return last;
        }
    }
}

/// Forgets what the kernel caches of the files under `dir`. Without `dd` it does nothing and says so.
///
/// # Errors
/// If a folder cannot be listed.
pub fn forget_cached(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget_cached(&entry.path())?;
            continue;
        }
        let mut to = std::ffi::OsString::from("of=");
        to.push(entry.path());
        let done = Command::new("dd").arg(to).args(["oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]).status();
        if !done.is_ok_and(|s| s.success()) {
            eprintln!("dd cannot drop the page cache of {}", entry.path().display());
        }
    }
    Ok(())
}

/// Reads the files under `dir`, so that the kernel caches them.
///
/// # Errors
/// If a file cannot be read.
pub fn read_all(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read_all(&entry.path())?;
        } else {
            std::io::copy(&mut fs::File::open(entry.path())?, &mut std::io::sink())?;
        }
    }
    Ok(())
}

/// The machine in one line: processor, cores, memory, kernel, load.
#[must_use]
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("unknown processor", |m| m.trim_start_matches([':', ' ', '\t']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib = read("/proc/meminfo").lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let memory = kib.unwrap_or_default() >> 20;
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!("{model}, {cores} cores, {memory} GiB, Linux {}, load {load} at the start", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found() {
        assert_eq!(field("rchar: 3\nwchar: 17\n", "wchar"), 17);
        assert_eq!(field("", "wchar"), 0);
    }

    #[test]
    fn forgetting_what_is_cached_keeps_the_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), b"12345").unwrap();
        read_all(dir.path()).unwrap();
        forget_cached(dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join("a/b")).unwrap(), b"12345");
    }
}
