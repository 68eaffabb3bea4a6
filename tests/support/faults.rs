//! What happens to a cluster under test: servers and masters are killed, servers are paused for longer than a lease, tablets
//! are moved, split and merged; one thing after the other, chosen by a seed.

use super::process::{Finished, stele};
use super::{Http, Many};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// Longer than a lease and its margin: who is paused so long is taken for dead meanwhile.
pub const BEYOND_A_LEASE: Duration = Duration::from_secs(4);
/// Between two of them.
const REST: Duration = Duration::from_millis(500);

/// How long a test's faults last: `STELE_FAULT_SECONDS`, or what a normal run takes.
pub fn seconds(usually: u64) -> Duration {
    Duration::from_secs(std::env::var("STELE_FAULT_SECONDS").map_or(usually, |s| s.parse().unwrap()))
}

/// Chooses the faults: `STELE_FAULT_SEED`, or a new one, which is printed.
pub fn seed() -> u64 {
    let seed = std::env::var("STELE_FAULT_SEED").map_or_else(|_| rand::random(), |s| s.parse().unwrap());
    println!("STELE_FAULT_SEED={seed}");
    seed
}

/// Which table suffers, and a key, as `stele admin split --at` takes it, that one of its tablets may be split at.
pub struct Faults<'a> {
    pub table: &'a str,
    pub split_at: &'a dyn Fn(&mut StdRng) -> String,
}

impl Faults<'_> {
    /// One after the other until `over`; what was done. All processes run in the end.
    pub fn befall(&self, cluster: &mut Many, seed: u64, mut over: impl FnMut() -> bool) -> Vec<String> {
        let (http, url, mut random, mut done) = (cluster.http(), cluster.url(), StdRng::seed_from_u64(seed), Vec::new());
        while !over() {
            let (server, master) = (random.random_range(0..cluster.servers.len()), random.random_range(0..cluster.masters.len()));
            match random.random_range(0..6) {
                0 => {
                    cluster.servers[server].kill();
                    cluster.restart_server(server);
                    done.push(format!("killed server {server}"));
                }
                1 => {
                    cluster.servers[server].signal("STOP");
                    std::thread::sleep(BEYOND_A_LEASE);
                    cluster.servers[server].signal("CONT");
                    done.push(format!("paused server {server}"));
                }
                2 => {
                    cluster.masters[master].kill();
                    cluster.restart_master(master);
                    done.push(format!("killed master {master}"));
                }
                _ => done.extend(self.rearrange(&http, &url, &mut random)),
            }
            std::thread::sleep(REST);
        }
        done
    }

    /// Begins to move, split or merge something.
    fn rearrange(&self, http: &Http, url: &str, random: &mut StdRng) -> Option<String> {
        let tablets = format!("/v1/admin/tablets?table={}", self.table);
        let (_, answer) = http.try_get(&tablets).ok().filter(|(status, _)| *status == 200)?;
        let ids: Vec<String> = answer["tablets"].as_array()?.iter().map(|t| t["id"].to_string()).collect();
        let at = random.random_range(0..ids.len());
        let args: Vec<String> = match random.random_range(0..3) {
            0 if at + 1 < ids.len() => vec!["merge".into(), ids[at].clone(), ids[at + 1].clone()],
            1 => vec!["split".into(), ids[at].clone(), "--at".into(), (self.split_at)(random)],
            _ => vec!["move".into(), ids[at].clone()],
        };
        let mut command = stele();
        let ended = Finished::of(command.arg("admin").args(&args).args(["--timeout", "5", "--url", url]));
        Some(format!("{} → {}", args.join(" "), if ended.code == Some(0) { "done" } else { ended.err.trim() }))
    }
}
