//! Whether a derived table still holds what its runs have published, and its repair where it does not.
//!
//! Every run leaves a record of how many rows its windows hold and of the sum of their checksums. A table whose rows do not add up
//! is computed anew in the windows concerned. One that cannot be read any more, because an object of it is lost or damaged, is
//! built anew beside it, and takes its place: no run could compare itself with rows that nobody can read.

use super::base::Base;
use super::outbox::windows_json;
use super::records::WindowRecord;
use super::stored::{StoredRow, checksum};
use crate::cluster::Cluster;
use common::catalog::Definition;
use common::environment::NEXT;
use common::ids::FamilyId;
use common::row::Row;
use common::rpc::master::{Command, PutDefinition};
use common::schema::Table;
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, ErrorKind, Result};
use derived::document::{Artifact, OutputWindow, Strategy};
use derived::fold::Part;
use futures::TryStreamExt;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What was found in a derived table.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Verified {
    /// `dataset.name`.
    pub table: String,
    /// The version that was looked at.
    pub version: u64,
    /// `sound`, `altered` (rows do not add up to what runs have published) or `unreadable`.
    pub state: &'static str,
    /// Rows (merge: parts) that were read.
    pub rows: u64,
    /// Windows that are altered, as pairs of times; an open end is null.
    #[schema(value_type = Vec<Vec<Option<String>>>)]
    pub windows: serde_json::Value,
    /// What is wrong.
    pub error: Option<String>,
    /// What was begun to repair it.
    pub repair: Option<String>,
}

/// Reads all of a table and adds its rows up; with `repair`, has computed anew what is wrong.
///
/// # Errors
/// `Unavailable` and the like, where it could not be read for now; the master's refusals of a repair.
pub async fn verify(cluster: &Arc<Cluster>, definition: &Definition, repair: bool) -> Result<Verified> {
    let artifact = Artifact::from_document(&definition.document)?;
    let table = cluster.table(&definition.name)?;
    let version = cluster.catalog().published(definition.table).map(|p| p.version).unwrap_or_default();
    let base = Base { cluster, table: &table, version };
    let mut found = Verified {
        table: definition.name.clone(),
        version: version.0,
        state: "sound",
        rows: 0,
        windows: windows_json(&RangeSet::empty()),
        error: None,
        repair: None,
    };
    match add_up(&base, &artifact).await {
        Ok(sums) => {
            found.rows = sums.rows;
            let altered = sums.altered();
            if !altered.is_empty() {
                (found.state, found.windows) = ("altered", windows_json(&altered));
                found.error = Some("rows do not add up to what runs have published".into());
                if repair {
                    cluster.submit(Command::MarkDirty { name: definition.name.clone(), windows: altered }).await?;
                    found.repair = Some("these windows are computed anew".into());
                }
            }
        }
        Err(e) if matches!(e.kind, ErrorKind::Corrupt | ErrorKind::NotFound) => {
            (found.state, found.error) = ("unreadable", Some(e.message));
            if repair {
                rebuild(cluster, definition, &artifact).await?;
                found.repair = Some("it is built anew beside this table, and takes its place when it has caught up".into());
            }
        }
        Err(e) => return Err(e),
    }
    Ok(found)
}

async fn add_up(base: &Base<'_>, artifact: &Artifact) -> Result<Sums> {
    let parts = base.table.family(Part::FAMILY).filter(|_| matches!(artifact.strategy, Strategy::Merge(_))).map(|f| f.id);
    let window = artifact.window.as_ref();
    let mut sums = Sums::new(base.records().await?);
    let mut rows = base.rows(None);
    while let Some(some) = rows.try_next().await? {
        for row in some {
            sums.add(base.table, window, parts, row)?;
        }
    }
    Ok(sums)
}

async fn rebuild(cluster: &Arc<Cluster>, definition: &Definition, artifact: &Artifact) -> Result<()> {
    if !definition.environment().is_empty() {
        return Err(Error::refused(format!("table '{}' is not of production: drop its environment and apply it again", definition.name)));
    }
    let put = PutDefinition {
        environment: NEXT.into(),
        spec: artifact.spec.clone(),
        document: definition.document.clone(),
        fingerprint: definition.fingerprint.clone(),
        inputs: artifact.inputs.iter().map(|i| i.name.clone()).collect(),
    };
    cluster.submit(Command::ApplyDefinitions { create: Vec::new(), put: vec![put], remove: Vec::new(), base: None }).await.map(drop)
}

/// What records say, less what was read.
struct Sums {
    records: Vec<WindowRecord>,
    /// The records' windows with their places in `records`, rising.
    windows: Vec<(Micros, Micros, usize)>,
    /// Times of rows that no record knows.
    unknown: RangeSet,
    rows: u64,
}

impl Sums {
    fn new(records: Vec<WindowRecord>) -> Self {
        let ranges =
            |(i, r): (usize, &WindowRecord)| r.windows.ranges().iter().map(move |(start, end)| (*start, *end, i)).collect::<Vec<_>>();
        let mut windows: Vec<_> = records.iter().enumerate().flat_map(ranges).collect();
        windows.sort_unstable();
        Self { records, windows, unknown: RangeSet::empty(), rows: 0 }
    }

    fn add(&mut self, table: &Table, window: Option<&OutputWindow>, parts: Option<FamilyId>, row: Row) -> Result<()> {
        let stored = StoredRow::of(table, row);
        let Some(family) = parts else {
            let time = window.map_or(Ok(Micros::default()), |w| stored.time(table, w))?;
            self.take(time, checksum(&stored.key, &stored.shown));
            return Ok(());
        };
        for part in stored.hidden.iter().filter(|c| c.family == family) {
            self.take(super::merge::window_of(&part.qualifier)?, checksum(&stored.key, std::slice::from_ref(part)));
        }
        Ok(())
    }

    fn take(&mut self, time: Micros, checksum: u64) {
        self.rows += 1;
        let after = self.windows.partition_point(|(start, ..)| *start <= time);
        let found = after.checked_sub(1).and_then(|at| self.windows.get(at)).filter(|(_, end, _)| time < *end);
        let Some(record) = found.and_then(|(.., record)| self.records.get_mut(*record)) else {
            self.unknown.insert(time, Micros(time.0.saturating_add(1)));
            return;
        };
        record.rows = record.rows.wrapping_sub(1);
        record.checksum = record.checksum.wrapping_sub(checksum);
    }

    /// Windows in which there is not what runs have published.
    fn altered(&self) -> RangeSet {
        let wrong = self.records.iter().filter(|r| r.rows != 0 || r.checksum != 0);
        wrong.fold(self.unknown.clone(), |all, r| all.union(&r.windows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::records::Item;
    use common::ids::RunId;

    fn record(run: u64, from: i64, to: i64, items: &[(i64, u64)]) -> WindowRecord {
        let items: Vec<_> = items.iter().map(|&(at, checksum)| Item { time: Micros(at), checksum }).collect();
        WindowRecord::of(RunId(run), RangeSet::of(Micros(from), Micros(to)), "f", &items)
    }

    fn altered(read: &[(i64, u64)]) -> RangeSet {
        let mut sums = Sums::new(vec![record(1, 0, 10, &[(1, 5), (9, 6)]), record(2, 20, 30, &[(20, 7)]), record(3, 10, 20, &[])]);
        read.iter().for_each(|&(at, checksum)| sums.take(Micros(at), checksum));
        sums.altered()
    }

    #[test]
    fn rows_add_up_or_their_windows_are_named() {
        let of = |from, to| RangeSet::of(Micros(from), Micros(to));
        assert!(altered(&[(9, 6), (20, 7), (1, 5)]).is_empty());
        assert_eq!(altered(&[(1, 5), (20, 7)]), of(0, 10), "a row is missing");
        assert_eq!(altered(&[(1, 5), (9, 6), (20, 8)]), of(20, 30), "a row is another one");
        assert_eq!(altered(&[(1, 5), (9, 6), (20, 7), (15, 1)]), of(10, 20), "a row too many");
        assert_eq!(altered(&[(1, 5), (9, 6), (20, 7), (40, 1)]), of(40, 41), "a row that no run knows");
        assert_eq!(altered(&[(1, 5), (9, 6), (20, 7), (-1, 1)]), of(-1, 0));
    }
}
