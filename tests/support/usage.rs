use super::Many;
use std::time::Duration;

/// The processes of a cluster, by name.
pub struct Usage(Vec<(String, u32)>);

impl Usage {
    pub fn of(cluster: &Many) -> Self {
        let numbered = |name: &str, n: usize, pid| (format!("{name} {}", n + 1), pid);
        let masters = cluster.masters.iter().enumerate().map(|(n, r)| numbered("master", n, r.pid()));
        let servers = cluster.servers.iter().enumerate().map(|(n, r)| numbered("tablet server", n, r.pid()));
        Self(masters.chain(servers).chain([("gateway".to_owned(), cluster.gateway.pid())]).collect())
    }

    /// Another process.
    pub fn add(&mut self, name: &str, pid: u32) {
        self.0.push((name.to_owned(), pid));
    }

    /// CPU time of each process so far, user and system.
    pub fn cpu(&self) -> Vec<(String, Duration)> {
        self.0.iter().map(|(name, pid)| (name.clone(), cpu(*pid))).collect()
    }

    /// Resident memory of a process, MiB.
    pub fn memory_mib(&self, name: &str) -> u64 {
        let pid = self.0.iter().find(|(n, _)| n == name).map(|(_, pid)| *pid).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}

/// From `/proc`: fields 14 and 15 in ticks of 10 ms.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything, brackets included.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
