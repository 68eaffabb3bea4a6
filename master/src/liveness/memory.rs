use super::Now;
use crate::state::{ClusterState, Tablet};
use crate::timing::{LATE_TICK, LEASE, MARGIN, SIZING};
use common::ids::{ClaimId, Incarnation, ServerId, TableId, TabletId};
use common::rpc::master::{Report, TabletReport};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// What the leader has heard. Lost with its leadership: whoever leads next waits full periods anew.
#[derive(Debug, Default)]
pub struct Memory {
    /// The term it leads in.
    term: u64,
    /// When it began to lead, or woke from a pause: silence before then proves nothing.
    pub(super) since: Duration,
    last_tick: Duration,
    /// Whether sizes and loads are to be looked at now, and when that was last so.
    pub(super) sizing_due: bool,
    last_sizing: Duration,
    /// Ingests that an earlier leader knew: open until whoever holds them has had time to say so here.
    inherited: BTreeSet<TableId>,
    servers: BTreeMap<ServerId, Seen>,
    claims: BTreeMap<ClaimId, Duration>,
    ingests: BTreeMap<String, Ingest>,
}

/// The newest report of a server.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As sent.
    pub report: Report,
    /// When it came.
    pub at: Now,
    /// Where each tablet is in the report.
    places: HashMap<TabletId, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Ingest {
    table: TableId,
    kept: Duration,
}

impl Seen {
    /// How far the server's wall clock is from the leader's.
    pub(super) fn skew(&self) -> Duration {
        Duration::from_micros(self.report.wall.0.abs_diff(self.at.wall.0))
    }

    /// What the server says about a tablet.
    pub(super) fn tablet(&self, id: TabletId) -> Option<&TabletReport> {
        self.places.get(&id).and_then(|at| self.report.tablets.get(*at))
    }
}

impl Memory {
    /// Notes that this node leads in `term`: a new term begins with an empty memory.
    pub fn lead(&mut self, term: u64, state: &ClusterState, now: Now) {
        if self.term != term {
            let inherited = state.ingesting.clone();
            *self = Self { term, since: now.monotonic, last_tick: now.monotonic, inherited, ..Self::default() };
        }
    }

    /// Called at each look at everything. If the leader itself was stopped for long, all silences count from now.
    pub fn tick(&mut self, state: &ClusterState, now: Now) {
        if now.monotonic.saturating_sub(self.last_tick) > LATE_TICK {
            self.since = now.monotonic;
        }
        self.last_tick = now.monotonic;
        self.sizing_due = now.monotonic.saturating_sub(self.last_sizing) >= SIZING;
        if self.sizing_due {
            self.last_sizing = now.monotonic;
        }
        self.claims.retain(|id, _| state.claims.contains_key(id));
        for id in state.claims.keys() {
            self.claims.entry(*id).or_insert(now.monotonic);
        }
        self.ingests.retain(|_, i| state.tables.contains_key(&i.table));
    }

    /// Notes a report, unless a newer one of the server has come already.
    pub fn heard(&mut self, report: Report, at: Now) {
        let key = |r: &Report| (r.incarnation, r.sequence);
        let old = self.servers.get(&report.server);
        if old.is_none_or(|seen| key(&seen.report) <= key(&report)) {
            let places = report.tablets.iter().enumerate().map(|(at, t)| (t.tablet, at)).collect();
            self.servers.insert(report.server, Seen { report, at, places });
        }
    }

    /// Notes that a claim's runner lives.
    pub fn keep_claim(&mut self, id: ClaimId, now: Now) {
        self.claims.insert(id, now.monotonic);
    }

    /// Notes that a bulk ingest is open.
    pub fn keep_ingest(&mut self, name: &str, table: TableId, now: Now) {
        self.ingests.insert(name.to_owned(), Ingest { table, kept: now.monotonic });
    }

    /// Notes that a bulk ingest has ended.
    pub fn end_ingest(&mut self, name: &str) {
        self.ingests.remove(name);
    }

    /// All newest reports.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Seen> {
        self.servers.values()
    }

    /// The newest report of this life of a server.
    #[must_use]
    pub fn report_of(&self, server: ServerId, incarnation: Incarnation) -> Option<&Seen> {
        self.servers.get(&server).filter(|seen| seen.report.incarnation == incarnation)
    }

    /// What the owner says about a tablet at its present epoch.
    #[must_use]
    pub fn report_on(&self, id: TabletId, tablet: &Tablet) -> Option<&TabletReport> {
        let (server, life) = tablet.owner?;
        self.report_of(server, life)?.tablet(id).filter(|t| t.epoch == tablet.epoch)
    }

    /// Whether it has led for long enough to have heard of everybody.
    pub(super) fn has_settled(&self, now: Now) -> bool {
        now.monotonic.saturating_sub(self.since) > LEASE + MARGIN
    }

    /// Whether this life has been silent for so long that its lease is over, counted from when silence could be noticed.
    pub(super) fn is_silent(&self, server: ServerId, incarnation: Incarnation, now: Now) -> bool {
        let heard = self.report_of(server, incarnation).map_or(Duration::ZERO, |seen| seen.at.monotonic);
        now.monotonic.saturating_sub(heard.max(self.since)) > LEASE + MARGIN
    }

    /// How long ago a claim was kept, counted from when it could be.
    pub(super) fn claim_silence(&self, id: ClaimId, now: Now) -> Duration {
        let kept = self.claims.get(&id).copied().unwrap_or(now.monotonic);
        now.monotonic.saturating_sub(kept.max(self.since))
    }

    /// Tables with an ingest that was kept within `ttl`, counted from when it could be.
    pub fn ingesting(&self, ttl: Duration, now: Now) -> BTreeSet<TableId> {
        let alive = |kept: Duration| now.monotonic.saturating_sub(kept.max(self.since)) <= ttl;
        let kept = self.ingests.values().filter(|i| alive(i.kept)).map(|i| i.table);
        let inherited = self.inherited.iter().copied().filter(|_| alive(Duration::ZERO));
        kept.chain(inherited).collect()
    }
}
