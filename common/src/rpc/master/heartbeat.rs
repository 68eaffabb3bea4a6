//! Messages of a heartbeat stream: reports up, orders down.

use crate::changes::{Changes, Keyed};
use crate::config::LogKind;
use crate::ids::{Epoch, Incarnation, ProcedureId, RunId, Seq, ServerId, TableId, TabletId};
use crate::key::KeyRange;
use crate::schema::Table;
use crate::time::Micros;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a tablet server sends up its heartbeat stream: at its start, each 0.5 s, and when something changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The server.
    pub server: ServerId,
    /// Its life; a higher one ends all lower ones.
    pub incarnation: Incarnation,
    /// Where its RPC listens, `host:port`.
    pub address: String,
    /// Where this life writes its log.
    #[serde(default)]
    pub log: LogKind,
    /// Counts this incarnation's reports; echoed by [`Orders::answers`], so a lease runs from the send time.
    pub sequence: u64,
    /// The version of the desired list that it has; 0: none.
    pub order_version: u64,
    /// The tablets it holds, at version `sequence`: what changed since the newest report that the leader has, all in a stream's first.
    pub tablets: Changes<TabletReport>,
    /// Requests that this life has made to the object store.
    #[serde(default)]
    pub requests: u64,
    /// Wall clock at sending; a server more than 10 s off is given no tablets.
    pub wall: Micros,
    /// It is about to end and wants its tablets to go on elsewhere.
    #[serde(default)]
    pub leaving: bool,
}

/// One tablet as its server sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TabletReport {
    /// The tablet.
    pub tablet: TabletId,
    /// At which epoch.
    pub epoch: Epoch,
    /// What it does.
    pub state: TabletState,
    /// The newest readable seq; a derived table's applied version.
    pub visible_seq: Seq,
    /// The oldest readable seq.
    pub floor: Seq,
    /// Bytes in SSTables and memtables.
    pub bytes: u64,
    /// Rows read and rows written a second, over the last seconds.
    #[serde(default)]
    pub load: Load,
    /// The answer to [`Desired::split`].
    #[serde(default)]
    pub split: Option<SplitPoint>,
    /// The answer to [`Desired::flush`]: the newest request that was carried out.
    #[serde(default)]
    pub flushed: Option<ProcedureId>,
}

impl Keyed for TabletReport {
    type Key = TabletId;

    fn key(&self) -> TabletId {
        self.tablet
    }
}

/// What clients do to a tablet, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Rows read.
    pub reads: u64,
    /// Rows written.
    pub writes: u64,
}

impl Load {
    /// Both together.
    #[must_use]
    pub const fn rows(self) -> u64 {
        self.reads + self.writes
    }
}

/// Where a tablet is to be cut in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// So that both halves have about as many bytes.
    Size,
    /// So that both halves see about as much of the present load.
    Load,
}

/// Where a tablet can be cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPoint {
    /// The first key of the upper half; `None`: no key cuts it.
    pub at: Option<Bytes>,
}

/// What a tablet does at its server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TabletState {
    /// Recovering.
    Opening,
    /// Serving.
    Open,
    /// Closed at its epoch; another server may have it.
    Closed,
    /// Could not be opened.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What the leader sends down a heartbeat stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// The report this answers ([`Report::sequence`]); the lease runs from that report's send time.
    pub answers: u64,
    /// Lease length, ms.
    pub lease_ms: u64,
    /// Raft term and applied index; a server ignores an older pair.
    pub term: u64,
    /// See `term`.
    pub applied: u64,
    /// The newest report whose tablets the leader has ([`Report::sequence`]); absent: none, so all of them are to be said.
    pub heard: Option<u64>,
    /// The tablets this server should hold: what changed since the list that it last said to have. Its versions are the state's.
    pub desired: Changes<Desired>,
    /// The tables of those tablets; at the same version.
    pub tables: Changes<Arc<Table>>,
    /// This incarnation has been replaced or declared dead: end yourself.
    pub fenced: bool,
    /// Whether other servers could take this one's tablets, so that leaving waits for that.
    #[serde(default)]
    pub others: bool,
}

/// A tablet that a server should hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// The tablet.
    pub tablet: TabletId,
    /// Its rows.
    pub range: KeyRange,
    /// At which epoch.
    pub epoch: Epoch,
    /// Its table, which is in [`Orders::tables`].
    pub table: TableId,
    /// The oldest seq that some change reader still needs; `None`: nobody follows this table.
    pub pin: Option<Seq>,
    /// Published runs that some tablet has not yet reported as applied, oldest first.
    pub runs: Vec<(RunId, Seq)>,
    /// Runs whose staged rows are to be dropped.
    pub aborted: Vec<RunId>,
    /// Logs in the object store that may hold what the tablet has not flushed, each with the number of its fence.
    #[serde(default)]
    pub fences: Vec<(ServerId, Incarnation, u64)>,
    /// The server is asked where to cut it.
    #[serde(default)]
    pub split: Option<SplitBy>,
    /// The server is asked to flush all that is visible, for a snapshot of this number or a lower one.
    #[serde(default)]
    pub flush: Option<ProcedureId>,
}

impl Keyed for Desired {
    type Key = TabletId;

    fn key(&self) -> TabletId {
        self.tablet
    }
}
