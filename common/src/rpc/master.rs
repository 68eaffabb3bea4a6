//! Messages of `stele.v1.Master`: commands, heartbeats and the watched catalog, all JSON documents.

use crate::catalog::{Catalog, RunRecord};
use crate::config::LogKind;
use crate::ids::{ClaimId, Epoch, Incarnation, RunId, Seq, ServerId, TableId, TabletId};
use crate::key::KeyRange;
use crate::schema::{Table, TableSpec};
use crate::time::Micros;
use crate::version::{RangeSet, VersionMap};
use serde::{Deserialize, Serialize};

/// What `Submit` takes. A follower hands it to the leader, who answers with a [`Reply`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Creates a raw table. Fails with `AlreadyExists`, unless the spec is the same: then it is answered as created.
    CreateTable {
        /// What to create.
        spec: TableSpec,
    },
    /// Drops a raw table: its data is hidden at once. Refused while a definition reads it.
    DropTable {
        /// `dataset.name`.
        name: String,
    },
    /// Creates, replaces and removes definitions, all or none.
    ApplyDefinitions {
        /// New and changed ones.
        put: Vec<PutDefinition>,
        /// Names of removed ones; their tables are dropped.
        remove: Vec<String>,
    },
    /// Pauses or resumes the runs of one derived table.
    PauseDerived {
        /// `dataset.name`.
        name: String,
        /// Whether it rests from now on.
        paused: bool,
    },
    /// Marks windows of a derived table due by force.
    MarkDirty {
        /// `dataset.name`.
        name: String,
        /// Which output times; everything for tables without windows.
        windows: RangeSet,
    },
    /// Claims windows of a derived table for one run.
    Claim {
        /// The derived table.
        table: TableId,
        /// The definition the runner has compiled.
        fingerprint: String,
        /// Output times to compute; ignored if `whole`.
        windows: RangeSet,
        /// The run may write any row of the table.
        whole: bool,
        /// The runner's name, for people.
        runner: String,
    },
    /// Tells that these claims live. Not a Raft entry; a claim that is not kept for [`CLAIM_TTL`] is ended by one.
    KeepClaims {
        /// The claims.
        claims: Vec<ClaimId>,
    },
    /// Publishes a staged run, whole or not at all.
    Publish(Box<Publish>),
    /// Ends a claim without publishing; its staged rows are dropped.
    Abandon {
        /// The claim.
        claim: ClaimId,
        /// What to log, if the run is to be logged.
        record: Option<Box<RunRecord>>,
    },
    /// Moves cursors and dirty sets where no run is due.
    MoveCursors {
        /// The derived table.
        table: TableId,
        /// The definition the runner has compiled.
        fingerprint: String,
        /// See [`Publish::inputs`].
        inputs: Vec<InputProgress>,
    },
    /// Clears run records that have been written to `system.runs`.
    ClearRunRecords {
        /// Their runs.
        runs: Vec<RunId>,
    },
    /// Sets the time before which a raw table's data is complete; it never goes back.
    SetWatermark {
        /// `dataset.name`.
        name: String,
        /// The watermark.
        at: Micros,
    },
    /// Opens or keeps open a bulk ingest; not a Raft entry, it ends by itself after [`INGEST_TTL`].
    OpenIngest {
        /// `dataset.name`.
        name: String,
        /// Names this ingest.
        ingest: String,
    },
    /// Closes a bulk ingest.
    CloseIngest {
        /// Names the ingest.
        ingest: String,
    },
    /// Gives a tablet server with an empty volume its id, which it keeps there.
    RegisterServer,
    /// Reads the catalog once.
    GetCatalog,
    /// Gives a number to a new master node. A node whose volume was emptied is a new one.
    NewMaster {
        /// The cluster that it takes itself for part of.
        cluster: String,
    },
    /// Makes a node part of the group, or moves it: it first catches up, then votes.
    JoinMaster {
        /// The node.
        node: u64,
        /// Where the others reach it, `host:port`.
        address: String,
    },
    /// Takes a node out of the group for good.
    RemoveMaster {
        /// The node.
        node: u64,
    },
    /// Reads which nodes the group has.
    ListMasters,
}

/// A claim that is not kept for this long is ended by the leader.
pub const CLAIM_TTL: std::time::Duration = std::time::Duration::from_secs(30);
/// An open ingest that is not kept for this long is closed.
pub const INGEST_TTL: std::time::Duration = std::time::Duration::from_secs(10);

/// A new or changed definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutDefinition {
    /// The table it makes. If an applied definition's table has another spec, the table is made anew.
    pub spec: TableSpec,
    /// The compiled definition as its compiler wrote it; opaque to the master.
    pub document: String,
    /// Of the resolved plan: another one marks all windows due.
    pub fingerprint: String,
    /// Names of its inputs, which must exist or be applied along.
    pub inputs: Vec<String>,
}

/// A run to publish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// The claim, from [`Reply::Claimed`].
    pub claim: ClaimId,
    /// The definition it computed.
    pub fingerprint: String,
    /// Whether rows were staged. If not, no new version is given and nothing downstream is dirty.
    pub changed: bool,
    /// Output times computed; everything for a run of the whole table.
    pub windows: RangeSet,
    /// Those of `windows` that were computed from complete inputs.
    pub complete: RangeSet,
    /// Where the table stands with each input afterwards.
    pub inputs: Vec<InputProgress>,
    /// What to log.
    pub record: Box<RunRecord>,
}

/// How far a derived table has followed one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputProgress {
    /// The input.
    pub input: TableId,
    /// All changes up to here have been turned into dirty windows.
    pub cursor: VersionMap,
    /// Windows that a publish has cleaned are taken out of, and these put into, the dirty set.
    pub newly_dirty: RangeSet,
}

/// What `Submit` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done; the catalog has at least this version when it is visible.
    Done {
        /// Catalog version.
        catalog: u64,
    },
    /// The table.
    Table {
        /// As created.
        table: Box<Table>,
        /// Catalog version.
        catalog: u64,
    },
    /// The claim was given.
    Claimed {
        /// Its number, which the publish names.
        claim: ClaimId,
        /// The run.
        run: RunId,
        /// The version that the run's difference is taken against.
        base: Seq,
    },
    /// The run was published.
    Published {
        /// The table's version from now on.
        version: Seq,
        /// Catalog version.
        catalog: u64,
    },
    /// The id of a new tablet server.
    Registered {
        /// Never given before.
        server: ServerId,
    },
    /// The catalog.
    Catalog(Box<Catalog>),
    /// The number of a new master node.
    NewMaster {
        /// Never given before.
        node: u64,
    },
    /// The group's nodes in the order of their numbers.
    Masters {
        /// All of them.
        nodes: Vec<MasterNode>,
    },
}

/// A master node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterNode {
    /// Its number.
    pub node: u64,
    /// Where the others reach it, `host:port`.
    pub address: String,
    /// Whether it votes; else it is still catching up.
    pub votes: bool,
    /// Whether it leads.
    pub leads: bool,
    /// The newest entry that it is known to have; 0: unknown.
    pub matched: u64,
}

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
    /// The newest [`Orders::version`] that it has seen.
    pub order_version: u64,
    /// The tablets it holds.
    pub tablets: Vec<TabletReport>,
    /// Wall clock at sending; a server more than 10 s off is given no tablets.
    pub wall: Micros,
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
    /// Of the desired list.
    pub version: u64,
    /// The tablets this server should hold. Always the full list for now; absent: as in `version`, unchanged.
    pub desired: Option<Vec<Desired>>,
    /// This incarnation has been replaced or declared dead: end yourself.
    pub fenced: bool,
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
    /// Its table.
    pub table: Table,
    /// The oldest seq that some change reader still needs; `None`: nobody follows this table.
    pub pin: Option<Seq>,
    /// Published runs that some tablet has not yet reported as applied, oldest first.
    pub runs: Vec<(RunId, Seq)>,
    /// Runs whose staged rows are to be dropped.
    pub aborted: Vec<RunId>,
    /// Logs in the object store that may hold what the tablet has not flushed, each with the number of its fence.
    #[serde(default)]
    pub fences: Vec<(ServerId, Incarnation, u64)>,
}

/// What `Watch` takes. Answered with the catalog at once if its version is higher, then whenever it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// The version the caller has; 0: none.
    pub known: u64,
}
