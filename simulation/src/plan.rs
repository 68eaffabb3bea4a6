//! What a run consists of: all of it drawn from the seed before it begins.

use common::store::Faults;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Masters: 1 or 3.
    pub masters: usize,
    /// Tablet servers: 1 to 3.
    pub servers: usize,
    /// Gateways: 1 or 2.
    pub gateways: usize,
    /// Clients of each gateway.
    pub clients: usize,
    /// Whether masters split, merge and move tablets by themselves.
    pub automatic: bool,
    /// A tablet is split above so many bytes.
    pub split_bytes: u64,
    /// Of each tablet server: little is flushed often.
    pub memtable_bytes: usize,
    /// How long faults go on.
    pub time: Duration,
    /// How often an operator moves, splits or merges, at most.
    pub procedure_every: Option<Duration>,
    /// Whether a slow read is sent twice.
    pub hedge: Option<Duration>,
    /// In the order of their beginnings.
    pub faults: Vec<Fault>,
    /// Whether the store loses what it has acknowledged, so that something must be found wrong. Never drawn.
    pub forgetful: bool,
}

/// Whom a fault befalls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victim {
    /// This host.
    Host(String),
    /// Whichever master leads then.
    Leader,
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug)]
pub struct Fault {
    /// From the moment at which clients begin.
    pub at: Duration,
    /// When it ends.
    pub until: Duration,
    /// Whom it befalls.
    pub victim: Victim,
    /// What it is.
    pub kind: Kind,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The process ends at once, and is started again.
    Crash,
    /// What it sends and what is sent to it is lost.
    Isolated,
    /// Nothing passes between it and one other host.
    Parted(String),
    /// What it sends to one other host is lost.
    Muted(String),
    /// What it sends and what is sent to it comes late.
    Held,
    /// Its requests to the store, or their answers, are lost.
    Storeless,
    /// Its requests to the store fail now and then.
    FlakyStore(Faults),
}

/// The host of role `role`'s number `n`, from 1.
#[must_use]
pub fn host(role: &str, n: usize) -> String {
    format!("{role}-{n}")
}

impl Plan {
    /// The seed's run.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let masters = if random.random_bool(0.8) { 3 } else { 1 };
        let mut plan = Self {
            masters,
            servers: random.random_range(1..=3),
            gateways: random.random_range(1..=2),
            clients: random.random_range(1..=2),
            automatic: random.random_bool(0.5),
            split_bytes: random.random_range(1 << 12..1 << 20),
            memtable_bytes: random.random_range(1 << 12..1 << 20),
            time: Duration::from_millis(random.random_range(3_000..10_000)),
            procedure_every: random.random_bool(0.7).then(|| Duration::from_millis(random.random_range(200..3_000))),
            hedge: random.random_bool(0.3).then(|| Duration::from_millis(50)),
            faults: Vec::new(),
            forgetful: false,
        };
        let number = if random.random_bool(0.1) { 0 } else { random.random_range(1..=8) };
        plan.faults = (0..number).map(|_| plan.fault(random)).collect();
        plan.faults.sort_by_key(|f| f.at);
        plan
    }

    /// All hosts with a role.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let all = |role: &'static str, count: usize| (1..=count).map(move |n| host(role, n));
        all("master", self.masters).chain(all("server", self.servers)).chain(all("gateway", self.gateways)).collect()
    }

    fn fault(&self, random: &mut StdRng) -> Fault {
        let at = random.random_range(Duration::ZERO..self.time);
        // Some are over before a lease is, some last longer.
        let most = if random.random_bool(0.5) { 1_500 } else { 6_000 };
        let until = at + Duration::from_millis(random.random_range(50..most));
        let hosts = self.hosts();
        let some = |random: &mut StdRng| hosts.choose(random).cloned().unwrap_or_default();
        let victim = if random.random_bool(0.2) { Victim::Leader } else { Victim::Host(some(random)) };
        let kind = match random.random_range(0..10) {
            0..3 => Kind::Crash,
            3 => Kind::Isolated,
            4 => Kind::Parted(some(random)),
            5 => Kind::Muted(some(random)),
            6 => Kind::Held,
            7 => Kind::Storeless,
            _ => Kind::FlakyStore(flaky(random)),
        };
        Fault { at, until, victim, kind }
    }
}

/// A store on a bad day: some requests fail before they take effect, some after, some are slow, some listings are old.
fn flaky(random: &mut StdRng) -> Faults {
    let delay = Duration::from_millis(random.random_range(10..3_000));
    let chance = random.random_range(0.02..0.4);
    let (conflict, stale_list) = (random.random_range(0.0..0.2), random.random_range(0.0..0.3));
    Faults { conflict, stale_list, ..Faults::unreliable(chance, delay) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_plan_and_seeds_differ() {
        let text = |seed| format!("{:?}", Plan::of(seed));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn plans_have_every_kind_of_fault() {
        let all: String = (0..200).map(|seed| format!("{:?}", Plan::of(seed).faults)).collect();
        for kind in ["Crash", "Isolated", "Parted", "Muted", "Held", "Storeless", "FlakyStore", "Leader"] {
            assert!(all.contains(kind), "{kind}");
        }
    }
}
