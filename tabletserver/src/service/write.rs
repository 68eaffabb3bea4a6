//! Writes: who may write what; the engine judges each row by limits, range and schema.

use crate::host::Host;
use common::ids::FamilyId;
use common::key::KeyRange;
use common::row::{Committed, Mutation, RowMutation};
use common::rpc::tablet::{DeleteRangeRequest, DeleteRangeResponse, RowResult, WireRowMutation, WriteRequest, WriteResponse, required};
use common::schema::{Table, TableKind};
use common::{Error, Result, limits};

/// Writes rows; the results are in the order of the request.
pub async fn write(host: &Host, request: WriteRequest) -> Result<WriteResponse> {
    let tablet = host.tablet(request.target)?;
    let table = tablet.table();
    check_writer(&table, request.internal)?;
    check_size(&request.rows)?;
    let request_id = request_id(&request.request_id)?;
    let hidden = if request.internal { Vec::new() } else { hidden_families(&table) };
    let (mut rows, mut refused) = (Vec::with_capacity(request.rows.len()), Vec::new());
    for (at, row) in request.rows.into_iter().enumerate() {
        match RowMutation::try_from(row).and_then(|row| check_families(row, &table, &hidden)) {
            Ok(row) => rows.push(row),
            Err(e) => refused.push((at, RowResult::refused(&e))),
        }
    }
    let sent = rows.len();
    host.registry.meter(tablet.id()).written(sent, || rows.get(sent / 2).map(|row| row.key.clone()));
    let written = if rows.is_empty() { Vec::new() } else { tablet.write(rows, request_id).await.map_err(|e| host.refuse(&tablet, e))? };
    if written.len() != sent {
        return Err(Error::internal(format!("{sent} rows were written with {} results", written.len())));
    }
    let mut results: Vec<_> = written.into_iter().map(result).collect();
    // In ascending order, so that each lands where its row was.
    refused.into_iter().for_each(|(at, result)| results.insert(at, result));
    Ok(WriteResponse { results })
}

/// Deletes the rows of a range.
pub async fn delete_range(host: &Host, request: DeleteRangeRequest) -> Result<DeleteRangeResponse> {
    let tablet = host.tablet(request.target)?;
    check_writer(&tablet.table(), false)?;
    let (range, id) = (KeyRange::from(required(request.range, "range")?), request_id(&request.request_id)?);
    host.registry.meter(tablet.id()).written(1, || Some(range.start.clone()));
    let done = tablet.delete_range(range, id).await.map_err(|e| host.refuse(&tablet, e))?;
    Ok(DeleteRangeResponse { seq: done.seq.0, timestamp: done.timestamp.0 })
}

fn result(written: Result<Committed>) -> RowResult {
    match written {
        Ok(done) => RowResult { seq: done.seq.0, timestamp: done.timestamp.0, error: Default::default() },
        Err(e) => RowResult::refused(&e),
    }
}

pub(super) fn check_writer(table: &Table, internal: bool) -> Result<()> {
    let (name, kind) = (&table.name, table.kind);
    match kind {
        TableKind::Raw => Ok(()),
        TableKind::System if internal => Ok(()),
        TableKind::System => Err(Error::refused(format!("table '{name}' is written by Stele alone"))),
        // Its seqs are its versions: a write of its own would take the number of a published run.
        TableKind::Derived => Err(Error::refused(format!("table '{name}' is derived: its rows come from runs of its definition alone"))),
    }
}

fn check_size(rows: &[WireRowMutation]) -> Result<()> {
    let mutations: usize = rows.iter().map(|r| r.mutations.len()).sum();
    if mutations > limits::MAX_MUTATIONS_PER_REQUEST {
        return Err(Error::invalid(format!(
            "a write of {mutations} mutations; at most {} are allowed: send smaller batches",
            limits::MAX_MUTATIONS_PER_REQUEST
        )));
    }
    Ok(())
}

pub(super) fn request_id(bytes: &[u8]) -> Result<Option<[u8; 16]>> {
    match bytes {
        [] => Ok(None),
        id => id.try_into().map(Some).map_err(|_| Error::invalid(format!("a request id of {} bytes; it must have 16", id.len()))),
    }
}

/// Families that only Stele writes.
pub(super) fn hidden_families(table: &Table) -> Vec<FamilyId> {
    table.families.iter().filter(|f| f.hidden).map(|f| f.id).collect()
}

pub(super) fn check_families(row: RowMutation, table: &Table, hidden: &[FamilyId]) -> Result<RowMutation> {
    let wrong = row.mutations.iter().find_map(|m| match m {
        Mutation::Set { family, .. }
        | Mutation::Combine { family, .. }
        | Mutation::DeleteColumn { family, .. }
        | Mutation::DeleteFamily { family } => hidden.contains(family).then_some(*family),
        Mutation::DeleteRow => None,
    });
    match wrong {
        None => Ok(row),
        Some(family) => Err(Error::invalid(format!("table '{}': family {family} is written by Stele alone", table.name))),
    }
}
