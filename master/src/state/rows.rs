use common::catalog::FollowedInput;
use common::config::LogKind;
use common::ids::{Epoch, Incarnation, ProcedureId, RunId, Seq, ServerId, TableId};
use common::key::KeyRange;
use common::time::Micros;
use common::version::RangeSet;
use serde::{Deserialize, Serialize};

/// A tablet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablet {
    /// Its table.
    pub table: TableId,
    /// Its rows.
    pub range: KeyRange,
    /// Grows with every assignment; 0: never assigned.
    pub epoch: Epoch,
    /// Its owner and the owner's life; `None` while it waits for one.
    pub owner: Option<(ServerId, Incarnation)>,
    /// Whether the owner has reported it open at this epoch.
    pub open: bool,
    /// The lives whose logs may hold what it has not flushed, oldest first: the one that its manifest names, and all that
    /// were given it since. They may have acknowledged writes before their report arrived, so they count from the
    /// assignment on.
    pub logs: Vec<Life>,
    /// When it was last assigned, by the leader's wall clock.
    pub assigned_at: Micros,
    /// The procedure that has it.
    #[serde(default)]
    pub procedure: Option<ProcedureId>,
}

impl Tablet {
    /// A tablet that nobody has owned.
    #[must_use]
    pub fn new(table: TableId, range: KeyRange) -> Self {
        Self { table, range, epoch: Epoch(0), owner: None, open: false, logs: Vec::new(), assigned_at: Micros::default(), procedure: None }
    }
}

/// A life of a server that writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Life {
    /// The server.
    pub server: ServerId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where that life writes.
    pub log: LogKind,
}

/// A log in the object store that was ended: whoever takes over reads it up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Whose log.
    pub server: ServerId,
    /// Of which life.
    pub incarnation: Incarnation,
    /// Number of the object that ends it.
    pub position: u64,
}

/// A tablet server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its newest life; 0: it has never reported.
    pub incarnation: Incarnation,
    /// Whether that life goes on.
    pub live: bool,
    /// Where its RPC listens.
    pub address: String,
    /// Where its newest life writes its log.
    pub log: LogKind,
    /// Whether an operator wants it empty.
    #[serde(default)]
    pub draining: bool,
}

/// An applied definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The table it makes.
    pub table: TableId,
    /// As the compiler wrote it.
    pub document: String,
    /// Of its resolved plan.
    pub fingerprint: String,
    /// Names of the tables it reads, as its SQL has them, sorted.
    pub inputs: Vec<String>,
    /// Whether it rests.
    pub paused: bool,
    /// When it was last changed; when it was retired.
    pub applied_at: Micros,
}

/// Where a derived table stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Derived {
    /// Its newest version; 0: nothing published.
    pub version: Seq,
    /// When that was published.
    #[serde(default)]
    pub published_at: Micros,
    /// Output times computed at least once.
    pub windows: RangeSet,
    /// Output times computed from complete inputs.
    pub complete: RangeSet,
    /// Output times due by force.
    pub forced: RangeSet,
    /// How far it has followed each input, by input.
    pub inputs: Vec<FollowedInput>,
    /// What was published after the base of the oldest live claim.
    pub since_base: Vec<(RangeSet, Seq)>,
    /// Published runs that some tablet has not yet reported as applied, in version order.
    pub runs: Vec<(RunId, Seq)>,
    /// Aborted runs whose staged rows are still to be dropped.
    pub aborted: Vec<Aborted>,
    /// The masters' state was restored, and it is not known yet whether a tablet shows a version that it does not know.
    #[serde(default)]
    pub unverified: bool,
}

/// A run that will never be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aborted {
    /// The run.
    pub run: RunId,
    /// When it was aborted, by the leader's wall clock.
    pub at: Micros,
}

/// A runner's right to some windows of a derived table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The derived table.
    pub table: TableId,
    /// The run it was given for.
    pub run: RunId,
    /// The definition it computes.
    pub fingerprint: String,
    /// Output times; everything for a claim of the whole table.
    pub windows: RangeSet,
    /// The run may write any row of the table.
    pub whole: bool,
    /// The version its difference is taken against.
    pub base: Seq,
    /// The runner's name.
    pub runner: String,
}

impl Claim {
    /// Whether two claims of one table could write the same rows.
    #[must_use]
    pub fn overlaps(&self, windows: &RangeSet, whole: bool) -> bool {
        self.whole || whole || !self.windows.intersect(windows).is_empty()
    }
}
