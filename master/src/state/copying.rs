//! What is kept of procedures on whole tables.

use common::ids::{ProcedureId, TabletId};
use common::key::KeyRange;
use common::rpc::master::TableSource;
use common::schema::Table;
use common::time::Micros;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A procedure on a whole table, under way or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableProcedure {
    /// What it does.
    pub what: TableWork,
    /// Who or what began it.
    pub why: String,
    /// Where it is, or was when it ended.
    pub step: TableStep,
    /// When it began.
    pub begun_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// Why it failed.
    pub error: Option<String>,
}

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableStep {
    /// A snapshot is being taken.
    Flushing,
    /// The leader works.
    Copying,
}

/// What a procedure does with a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableWork {
    /// Takes a snapshot of the procedure's own number.
    Snapshot {
        /// `dataset.name`.
        table: String,
        /// The snapshot's.
        name: String,
    },
    /// Makes a table over the SSTables of a snapshot.
    Clone {
        /// As it was asked for.
        source: TableSource,
        /// The snapshot.
        snapshot: ProcedureId,
        /// The new table.
        table: Arc<Table>,
        /// Its tablets in key order; none until the snapshot is taken.
        makes: Vec<NewPart>,
    },
    /// Copies a snapshot to another place.
    Backup {
        /// As it was asked for.
        source: TableSource,
        /// The snapshot.
        snapshot: ProcedureId,
        /// URL of the folder.
        location: String,
    },
    /// Makes a table of a backup.
    Restore {
        /// URL of the folder.
        location: String,
        /// Which backup it was.
        backup: String,
        /// The backed-up table's watermark.
        watermark: Option<Micros>,
        /// The new table.
        table: Arc<Table>,
        /// Its tablets in key order.
        makes: Vec<NewPart>,
    },
}

/// A tablet that a procedure makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPart {
    /// Its id.
    pub tablet: TabletId,
    /// Its rows.
    pub range: KeyRange,
    /// The tablet in the snapshot or backup that it begins as.
    pub from: TabletId,
}

impl TableProcedure {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.ended_at.is_none()
    }

    /// What it does, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.what {
            TableWork::Snapshot { table, name } => format!("snapshot '{table}@{name}'"),
            TableWork::Clone { source, table, .. } => format!("clone {source} as '{}'", table.name),
            TableWork::Backup { source, location, .. } => format!("back up {source} to '{location}'"),
            TableWork::Restore { location, table, .. } => format!("restore '{}' from '{location}'", table.name),
        }
    }

    /// The tablets that it makes.
    #[must_use]
    pub fn makes(&self) -> &[NewPart] {
        match &self.what {
            TableWork::Clone { makes, .. } | TableWork::Restore { makes, .. } => makes,
            TableWork::Snapshot { .. } | TableWork::Backup { .. } => &[],
        }
    }

    /// The table that it makes.
    #[must_use]
    pub fn new_table(&self) -> Option<&Arc<Table>> {
        match &self.what {
            TableWork::Clone { table, .. } | TableWork::Restore { table, .. } => Some(table),
            TableWork::Snapshot { .. } | TableWork::Backup { .. } => None,
        }
    }

    /// The snapshot that it takes or reads.
    #[must_use]
    pub fn snapshot(&self, id: ProcedureId) -> Option<ProcedureId> {
        match &self.what {
            TableWork::Snapshot { .. } => Some(id),
            TableWork::Clone { snapshot, .. } | TableWork::Backup { snapshot, .. } => Some(*snapshot),
            TableWork::Restore { .. } => None,
        }
    }
}
