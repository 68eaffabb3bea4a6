//! What goes through Raft: clients' commands and the leader's own changes, each stamped with the leader's time.

use bytes::Bytes;
use common::Error;
use common::config::LogKind;
use common::envelope::AsJson;
use common::ids::{ClaimId, Epoch, Incarnation, ProcedureId, RunId, Seq, ServerId, TableId, TabletId};
use common::rpc::master::{Command, Procedure, Reply, SnapshotPartView};
use common::time::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Why a tablet is split that sees too much load.
pub const WHY_LOAD: &str = "load";

/// One entry of the Raft log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The leader's wall clock when it proposed the entry: the only time that the state machine knows.
    pub at: Micros,
    /// What to do.
    pub what: What,
}

/// Who asks for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// A client's command, as its JSON document.
    Command(AsJson<Command>),
    /// The leader's own.
    Change(Change),
}

/// What the leader decides by itself. Each says enough to be refused or to do nothing if it comes late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Creates those of the system tables that are missing.
    CreateSystemTables,
    /// A server process has begun to report; all its earlier lives are over.
    ServerStarted {
        /// The server.
        server: ServerId,
        /// Its new life.
        incarnation: Incarnation,
        /// Where its RPC listens.
        address: String,
        /// Where it writes its log.
        log: LogKind,
    },
    /// A server's lease and the margin have passed.
    ServerDead {
        /// The server.
        server: ServerId,
        /// The life that is over.
        incarnation: Incarnation,
    },
    /// The log of a life that is over was ended in the object store.
    LogFenced {
        /// The server.
        server: ServerId,
        /// The life that is over.
        incarnation: Incarnation,
        /// Number of the object that ends it.
        position: u64,
    },
    /// Gives tablets to servers.
    Assign(Vec<Assignment>),
    /// Tablets that their owners have reported open.
    TabletsOpened(Vec<(TabletId, Epoch)>),
    /// Tablets that their owners have reported closed, with everything flushed.
    TabletsClosed(Vec<(TabletId, Epoch)>),
    /// Begins a procedure; one that makes no sense any more does nothing.
    Begin {
        /// What to do, as its JSON document.
        procedure: AsJson<Procedure>,
        /// What for.
        why: String,
    },
    /// The owner of a tablet says where to cut it.
    SplitChosen {
        /// The split.
        procedure: ProcedureId,
        /// The first key of the upper half; `None`: no key cuts it.
        at: Option<Bytes>,
    },
    /// The manifests of a procedure's new tablets are in the object store.
    Derived {
        /// Which.
        procedure: ProcedureId,
    },
    /// They cannot be made: the old tablets go on.
    DeriveFailed {
        /// Which.
        procedure: ProcedureId,
        /// Why.
        error: String,
    },
    /// Ends a procedure that waits for too long.
    GiveUp {
        /// Which.
        procedure: ProcedureId,
        /// Why.
        error: String,
    },
    /// Begins a snapshot that a schedule asks for.
    TakeSnapshot {
        /// `dataset.name`.
        table: String,
        /// Its name.
        name: String,
    },
    /// A tablet's manifest lies under a snapshot's name, and its SSTables are held for it.
    SnapshotPart {
        /// The snapshot's procedure.
        procedure: ProcedureId,
        /// What it shows of which tablet.
        part: SnapshotPartView,
    },
    /// Snapshots that have expired, or that newer ones of their schedule replace.
    OutlivedSnapshots(Vec<ProcedureId>),
    /// All objects of a dropped snapshot are deleted.
    SnapshotGone(ProcedureId),
    /// The leader has done what a procedure on a table waited for.
    TableDone {
        /// Which.
        procedure: ProcedureId,
    },
    /// It cannot be done.
    TableFailed {
        /// Which.
        procedure: ProcedureId,
        /// Why.
        error: String,
    },
    /// All objects of a tablet that is no more are deleted.
    TabletEnded(TabletId),
    /// Drops retired definitions and their tables, once it is too late to undo what has retired them.
    ForgetRetired,
    /// Ends claims that nobody has kept; their runs are aborted.
    ExpireClaims(Vec<ClaimId>),
    /// What the tablets of a derived table show, after the masters' state was restored from a copy.
    Verified {
        /// The table.
        table: TableId,
        /// Whether one shows a version above the copy's.
        ahead: bool,
    },
    /// All tablets of a derived table have applied its runs up to a version and dropped these aborted ones.
    Settled {
        /// The table.
        table: TableId,
        /// The version.
        applied: Seq,
        /// Aborted runs of which no tablet holds rows any more.
        dropped: Vec<RunId>,
    },
    /// The tables that have an open bulk ingest from now on.
    Ingesting(BTreeSet<TableId>),
}

/// A tablet given to one life of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The tablet.
    pub tablet: TabletId,
    /// One more than the tablet's present epoch, else the assignment is void.
    pub epoch: Epoch,
    /// The new owner.
    pub server: ServerId,
    /// Its life, which must be live.
    pub incarnation: Incarnation,
}

/// What the state machine answers to an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome(pub Result<Reply, Error>);
