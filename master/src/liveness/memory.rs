use super::{Index, Now};
use crate::state::{ClusterState, Tablet};
use crate::timing::{LATE_TICK, LEASE, MARGIN, SIZING};
use common::changes::{Changes, Replica};
use common::ids::{ClaimId, Incarnation, ServerId, TableId, TabletId};
use common::rpc::master::{Report, TabletReport, TabletState};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Of the state at the newest look.
    pub(super) index: Index,
    claims: BTreeMap<ClaimId, Duration>,
    ingests: BTreeMap<String, Ingest>,
}

/// The newest report of a server.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As sent, but for the tablets: those are gathered over reports.
    pub report: Report,
    /// When it came.
    pub at: Now,
    tablets: Replica<TabletReport>,
    sums: Sums,
}

/// Of all that a server reports on its tablets.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// Tablets that it does not have open.
    pub(super) not_open: BTreeSet<TabletId>,
}

impl Sums {
    fn see(&mut self, was: Option<&TabletReport>, is: Option<&TabletReport>) {
        if let Some(was) = was {
            self.bytes = self.bytes.saturating_sub(was.bytes);
            self.rows = self.rows.saturating_sub(was.load.rows());
            self.not_open.remove(&was.tablet);
        }
        if let Some(is) = is {
            self.bytes = self.bytes.saturating_add(is.bytes);
            self.rows = self.rows.saturating_add(is.load.rows());
            if is.state != TabletState::Open {
                self.not_open.insert(is.tablet);
            }
        }
    }
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
        self.tablets.get(&id)
    }

    /// Of a life's first report.
    fn of(report: Report, at: Now) -> Self {
        let bare = Report { order_version: 0, tablets: Changes::whole(0, Vec::new()), ..report.clone() };
        let mut seen = Self { report: bare, at, tablets: Replica::default(), sums: Sums::default() };
        seen.follow(report, at);
        seen
    }

    /// Of all its tablets.
    pub(super) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Takes a newer report of the same life. If its tablets say only what changed since a report that was lost, what was
    /// known of them stays, and so does what the server knew when it reported that.
    fn follow(&mut self, mut report: Report, at: Now) {
        let changes = std::mem::replace(&mut report.tablets, Changes::whole(0, Vec::new()));
        let Self { tablets, sums, .. } = self;
        if tablets.take_seeing(changes, |was, is| sums.see(was, is)).is_err() {
            report.order_version = self.report.order_version;
        }
        (self.report, self.at) = (report, at);
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
        self.index.follow(state);
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

    /// Notes a report, unless a newer one of the server has come already; gives the newest report whose tablets are known.
    pub fn heard(&mut self, report: Report, at: Now) -> Option<u64> {
        let key = |r: &Report| (r.incarnation, r.sequence);
        let (server, life) = (report.server, report.incarnation);
        match self.servers.get_mut(&server) {
            Some(seen) if key(&seen.report) > key(&report) => {}
            Some(seen) if seen.report.incarnation == life => seen.follow(report, at),
            _ => drop(self.servers.insert(server, Seen::of(report, at))),
        }
        self.report_of(server, life)?.tablets.version()
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

    /// What is looked up in the state of the newest look.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
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

    /// The bytes of a tablet as anybody has last reported them; 0: unknown.
    pub(super) fn bytes_of(&self, id: TabletId) -> u64 {
        self.servers.values().filter_map(|seen| seen.tablet(id)).map(|t| t.bytes).max().unwrap_or(0)
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
