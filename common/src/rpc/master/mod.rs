//! Messages of `stele.v1.Master`: commands, heartbeats and the watched catalog, all JSON documents.

mod admin;
mod copies;
mod heartbeat;

pub use admin::{Procedure, ProcedureView, ServerView, TabletView};
pub use copies::{BackupContents, BackupPart, Schedule, SnapshotPartView, SnapshotStage, SnapshotView, TableSource};
pub use heartbeat::{Desired, Load, Orders, Report, SplitBy, SplitPoint, TabletReport, TabletState};

use crate::catalog::{Catalog, RunRecord};
use crate::ids::{ClaimId, Epoch, ProcedureId, RunId, Seq, ServerId, TableId, TabletId};
use crate::objects::{Referrer, SstableName};
use crate::schema::{Table, TableSpec};
use crate::time::Micros;
use crate::version::{RangeSet, VersionMap};
use bytes::Bytes;
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
    /// Creates, replaces and removes definitions, with the raw tables that they read: all or none.
    ApplyDefinitions {
        /// Raw tables to create first, see [`Command::CreateTable`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        create: Vec<TableSpec>,
        /// New and changed ones.
        put: Vec<PutDefinition>,
        /// Names of removed ones, the environment's mark included. Those of production are retired: their tables stay to be read
        /// under a name of their own, for [`UNDO_TTL`].
        remove: Vec<String>,
        /// The [`crate::catalog::Catalog::definitions_version`] that the change was planned on; `None`: whatever there is.
        base: Option<u64>,
    },
    /// Puts the definitions of an environment, and their tables, in the place of production's, which are retired.
    Promote {
        /// The environment, or that of retired definitions: then what they had made way for is retired.
        environment: String,
        /// Its definitions by name with their fingerprints, as the sender knows them.
        expected: Vec<(String, String)>,
    },
    /// Drops an environment's definitions and tables, or retired ones.
    DropEnvironment {
        /// Not production.
        environment: String,
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
    /// Begins a procedure on tablets; answered once it has begun.
    Begin {
        /// What to do.
        procedure: Procedure,
    },
    /// Ends a procedure that has not closed its tablets yet.
    Cancel {
        /// Which.
        procedure: ProcedureId,
    },
    /// Moves all tablets off a server and gives it none, or ends that.
    Drain {
        /// The server.
        server: ServerId,
        /// Whether it is to be empty from now on.
        drain: bool,
    },
    /// Reads the servers with what they hold and bear.
    ListServers,
    /// Reads a page of the tablets with what they hold and bear, by table, then key.
    ListTablets {
        /// Only of this table.
        #[serde(default)]
        table: Option<TableId>,
        /// Only those behind this one: the table's name and where the tablet begins.
        #[serde(default)]
        after: Option<(String, Bytes)>,
        /// At most so many.
        limit: u32,
    },
    /// Reads the procedures under way and the newest that have ended.
    ListProcedures,
    /// Holds all SSTables of a tablet for a referrer, those to come included, until [`Command::NarrowPins`].
    PinHome {
        /// The tablet.
        home: TabletId,
        /// Who holds.
        referrer: Referrer,
    },
    /// Says that a referrer's manifest names exactly these: it holds nothing else any more.
    NarrowPins {
        /// Who holds.
        referrer: Referrer,
        /// All that its manifest names.
        objects: Vec<SstableName>,
    },
    /// Says that a referrer's manifest does not name these any more, and none of its readers holds them.
    ReleasePins {
        /// Who held.
        referrer: Referrer,
        /// What.
        objects: Vec<SstableName>,
    },
    /// Refuses to drop a table from now on, or allows it again.
    ProtectTable {
        /// `dataset.name`.
        name: String,
        /// Whether it stays.
        protected: bool,
    },
    /// Takes a snapshot of a raw table; answered once that has begun. The same one again is the one under way.
    TakeSnapshot {
        /// `dataset.name`.
        table: String,
        /// Its name, unique among the table's.
        name: String,
        /// Seconds after which it is dropped; `None`: never.
        expires_after: Option<u64>,
    },
    /// Drops a snapshot, unless something is being made of it.
    DropSnapshot {
        /// `dataset.name` of the table that it is of.
        table: String,
        /// Its name.
        name: String,
    },
    /// Has the leader take snapshots of a raw table again and again, or ends that.
    ScheduleSnapshots {
        /// `dataset.name`.
        table: String,
        /// How often, and how many are kept; `None`: no more are taken, those there stay.
        schedule: Option<Schedule>,
    },
    /// Makes a table over the SSTables of another; answered once that has begun.
    CloneTable {
        /// Of what.
        source: TableSource,
        /// `dataset.name` of the new table.
        name: String,
    },
    /// Copies a table to another place; answered once that has begun.
    BackupTable {
        /// What.
        source: TableSource,
        /// URL of a folder that holds no backup.
        location: String,
    },
    /// Makes a table of a backup; answered once that has begun.
    RestoreTable {
        /// URL of the backup's folder.
        location: String,
        /// `dataset.name` of the new table.
        name: String,
        /// What the backup holds: filled in by the leader, who has read it.
        #[serde(default)]
        contents: Option<Box<BackupContents>>,
    },
    /// Reads the snapshots and their schedules.
    ListSnapshots,
    /// Asks which of these SSTables nobody holds.
    Deletable {
        /// Their home.
        home: TabletId,
        /// At which epoch the asker owns it.
        epoch: Epoch,
        /// SSTables that the home's manifest does not name any more.
        objects: Vec<SstableName>,
    },
}

/// A claim that is not kept for this long is ended by the leader.
pub const CLAIM_TTL: std::time::Duration = std::time::Duration::from_secs(30);
/// An open ingest that is not kept for this long is closed.
pub const INGEST_TTL: std::time::Duration = std::time::Duration::from_secs(10);

/// How long what a change has replaced is kept.
pub const UNDO_TTL: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

/// A new or changed definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutDefinition {
    /// Where it belongs; `""` is production.
    pub environment: String,
    /// The table it makes, under its name in production. If an applied definition's table has another spec, the table is made
    /// anew, and the old one is retired.
    pub spec: TableSpec,
    /// The compiled definition as its compiler wrote it; opaque to the master.
    pub document: String,
    /// Of the resolved plan: another one marks all windows due.
    pub fingerprint: String,
    /// Names of its inputs as its SQL has them, which must exist or be applied along.
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
    /// A procedure has begun.
    Begun {
        /// Its number.
        procedure: ProcedureId,
    },
    /// All servers that are live or hold something.
    Servers {
        /// By id.
        servers: Vec<ServerView>,
    },
    /// A page of tablets.
    Tablets {
        /// By table, then key.
        tablets: Vec<TabletView>,
        /// Whether there are more behind them.
        #[serde(default)]
        more: bool,
    },
    /// Procedures.
    Procedures {
        /// By number: those under way and the newest that have ended.
        procedures: Vec<ProcedureView>,
    },
    /// Snapshots.
    Snapshots {
        /// By table, then the time that they show.
        snapshots: Vec<SnapshotView>,
        /// Of which tables they are taken again and again.
        schedules: Vec<(String, Schedule)>,
    },
    /// SSTables that may be deleted.
    Deletable {
        /// Those asked for that nobody holds.
        objects: Vec<SstableName>,
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

/// What `Watch` takes. Answered with the catalog at once if its version is higher, then whenever it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// The version the caller has; 0: none.
    pub known: u64,
}
