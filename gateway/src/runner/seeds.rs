//! Seeds: lookup tables of a project, loaded as the difference to what their tables hold.
//!
//! A row that is the same is not written, so it is no change for the tables that read the seed.

use crate::cluster::Cluster;
use crate::rows::json::JsonRows;
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Mutation, ReadSpec, Row, RowMutation};
use common::rpc::master::Command;
use common::schema::{Table, TableKind};
use common::{Error, Result};
use derived::definition::Seed;
use futures::TryStreamExt;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use utoipa::ToSchema;

/// Rows of one write at most.
const BATCH: usize = 1_000;

/// What applying does, or has done, to one seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeedFinding {
    /// `dataset.name`.
    pub name: String,
    /// Its CSV file.
    pub file: String,
    /// `created`, `changed` or `unchanged`.
    pub status: &'static str,
    /// Rows that are new or differ.
    pub written: u64,
    /// Rows that are gone.
    pub deleted: u64,
}

type Cells = BTreeMap<(FamilyId, Bytes), Bytes>;

/// What loading a seed would do.
///
/// # Errors
/// `FailedPrecondition` if a table of this name has other columns, `InvalidArgument` for rows that do not fit.
pub async fn compare(cluster: &Arc<Cluster>, seed: &Seed) -> Result<SeedFinding> {
    let Some(table) = existing(cluster, seed)? else {
        return Ok(finding(seed, "created", seed.rows.len(), 0));
    };
    let (writes, deleted) = difference(cluster, &table, seed).await?;
    Ok(finding(seed, if writes.is_empty() { "unchanged" } else { "changed" }, writes.len() - deleted, deleted))
}

/// Creates a seed's table if there is none, and writes the rows that differ.
///
/// # Errors
/// As [`compare`], and as writes fail: what was written by then stays, and the next time goes on from there.
pub async fn load(cluster: &Arc<Cluster>, seed: &Seed) -> Result<SeedFinding> {
    let created = existing(cluster, seed)?.is_none();
    if created {
        cluster.submit(Command::CreateTable { spec: seed.spec.clone() }).await?;
    }
    let table = cluster.table(&seed.spec.name)?;
    let (writes, deleted) = difference(cluster, &table, seed).await?;
    let written = writes.len() - deleted;
    for batch in writes.chunks(BATCH) {
        cluster.write(&table, batch.to_vec()).await?.into_iter().collect::<Result<Vec<_>>>()?;
    }
    let status = match (created, written + deleted) {
        (true, _) => "created",
        (false, 0) => "unchanged",
        (false, _) => "changed",
    };
    Ok(finding(seed, status, written, deleted))
}

fn finding(seed: &Seed, status: &'static str, written: usize, deleted: usize) -> SeedFinding {
    SeedFinding { name: seed.spec.name.clone(), file: seed.file.clone(), status, written: written as u64, deleted: deleted as u64 }
}

/// The table of a seed, if there is one.
fn existing(cluster: &Arc<Cluster>, seed: &Seed) -> Result<Option<Arc<Table>>> {
    let catalog = cluster.catalog();
    let Some(table) = catalog.table(&seed.spec.name) else { return Ok(None) };
    let alike = table.kind == TableKind::Raw && table.spec.key == seed.spec.key && table.spec.columns == seed.spec.columns;
    match alike {
        true => cluster.table(&seed.spec.name).map(Some),
        false => Err(Error::refused(format!(
            "{}: table '{}' is there with another key or other columns, and changing them is not built yet: give the seed another name, or delete the table",
            seed.file, seed.spec.name
        ))),
    }
}

/// Writes that make a table hold a seed's rows and no others, and how many of them delete.
async fn difference(cluster: &Arc<Cluster>, table: &Arc<Table>, seed: &Seed) -> Result<(Vec<RowMutation>, usize)> {
    let rows = JsonRows::new(table.clone());
    let mut wanted: BTreeMap<Bytes, RowMutation> = BTreeMap::new();
    for (number, row) in seed.rows.iter().enumerate() {
        let text = serde_json::to_string(row).map_err(|e| Error::internal(format!("{}: {e}", seed.file)))?;
        let write = rows.read(&text).map_err(|e| e.context(format!("{}: row {}", seed.file, number + 1)))?;
        wanted.insert(write.key.clone(), write);
    }
    let (mut writes, mut deleted) = (Vec::new(), 0);
    let mut stored = cluster.read(table, ReadSpec::default(), None);
    while let Some(batch) = stored.try_next().await? {
        for row in batch {
            match wanted.remove(&row.key) {
                Some(write) if cells(&write) == stored_cells(&row) => {}
                Some(write) => writes.push(replaced(write)),
                None => {
                    deleted += 1;
                    writes.push(RowMutation { key: row.key, mutations: vec![Mutation::DeleteRow] });
                }
            }
        }
    }
    writes.extend(wanted.into_values());
    Ok((writes, deleted))
}

fn replaced(write: RowMutation) -> RowMutation {
    RowMutation { key: write.key, mutations: std::iter::once(Mutation::DeleteRow).chain(write.mutations).collect() }
}

fn cells(write: &RowMutation) -> Cells {
    let set = |m: &Mutation| match m {
        Mutation::Set { family, qualifier, value, .. } => Some(((*family, qualifier.clone()), value.clone())),
        _ => None,
    };
    write.mutations.iter().filter_map(set).collect()
}

/// The newest cell of each column.
fn stored_cells(row: &Row) -> Cells {
    let mut newest: HashMap<(FamilyId, Bytes), _> = HashMap::new();
    for cell in &row.cells {
        let at = newest.entry((cell.family, cell.qualifier.clone())).or_insert(cell);
        if cell.timestamp > at.timestamp {
            *at = cell;
        }
    }
    newest.into_iter().map(|(column, cell)| (column, cell.value.clone())).collect()
}
