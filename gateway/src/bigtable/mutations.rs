use super::messages::{Change, DeleteFromColumn, Mutation as Wire, SetCell, TimestampRange};
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Mutation, RowMutation};
use common::schema::{Column, StoredQualifier, Table};
use common::time::{Micros, TimeRange};
use common::value::Value;
use common::{Error, Result};
use std::collections::HashMap;

/// The timestamp that leaves it to the server.
const SERVERS: i64 = -1;
/// Cell timestamps are whole milliseconds, as in Bigtable.
const MILLISECOND: i64 = 1_000;

/// Makes rows of one table from what clients of the Bigtable API send.
pub struct Rows<'t> {
    table: &'t Table,
    families: HashMap<&'t str, Family<'t>>,
}

/// A family that clients may write, and the columns declared in it.
struct Family<'t> {
    id: FamilyId,
    declared: HashMap<&'t [u8], &'t Column>,
}

impl<'t> Rows<'t> {
    /// Of this table.
    pub fn of(table: &'t Table) -> Self {
        let declared = |id| table.columns.iter().filter(move |c| c.family == id).map(|c| (c.qualifier.as_bytes(), c)).collect();
        let shown = table.families.iter().filter(|f| !f.hidden);
        Self { table, families: shown.map(|f| (f.name.as_str(), Family { id: f.id, declared: declared(f.id) })).collect() }
    }

    /// The changes to one row. Keys and cells fit what the table declares, so that every reader can read them.
    ///
    /// # Errors
    /// `InvalidArgument`, `NotFound` for a family and `Unimplemented` for a kind of change, each with the change's place.
    pub fn row(&self, key: Bytes, changes: Vec<Wire>) -> Result<RowMutation> {
        self.check_key(&key)?;
        // What a row without a timestamp is stamped with over REST as well: writing it again replaces its cells.
        let own = self.table.key_schema().event_time(&key);
        let change = |(at, change): (usize, Wire)| self.change(change, own).map_err(|e| e.context(format!("mutation {at}")));
        let mutations = changes.into_iter().enumerate().map(change).collect::<Result<_>>()?;
        Ok(RowMutation { key, mutations })
    }

    /// That the bytes are a key of the table, if it says what its keys are made of.
    fn check_key(&self, key: &Bytes) -> Result<()> {
        if self.table.key.is_empty() {
            return Ok(());
        }
        let wrong = |e: Error| {
            let parts: Vec<_> = self.table.key.iter().map(|p| format!("{}: {}", p.name, p.codec.ty)).collect();
            Error::invalid(format!(
                "the row key is none of table '{}', whose keys are encoded from {{{}}}: {e}",
                self.table.name,
                parts.join(", ")
            ))
        };
        self.table.key_schema().decode(key).map_err(wrong)?;
        Ok(())
    }

    fn change(&self, change: Wire, own: Option<Micros>) -> Result<Mutation> {
        match change.mutation {
            Some(Change::SetCell(cell)) => self.set(cell, own),
            Some(Change::DeleteFromColumn(delete)) => self.delete_column(delete),
            Some(Change::DeleteFromFamily(delete)) => Ok(Mutation::DeleteFamily { family: self.family(&delete.family_name)?.id }),
            Some(Change::DeleteFromRow(_)) => Ok(Mutation::DeleteRow),
            Some(Change::AddToCell(_)) => Err(unknown("AddToCell")),
            Some(Change::MergeToCell(_)) => Err(unknown("MergeToCell")),
            None => Err(unknown("a kind of mutation that is not known here")),
        }
    }

    fn set(&self, cell: SetCell, own: Option<Micros>) -> Result<Mutation> {
        let family = self.family(&cell.family_name)?;
        let timestamp = timestamp(cell.timestamp_micros, own)?;
        let declared = family.declared.get(cell.column_qualifier.as_ref());
        if let Some(column) = declared {
            Value::check_cell(column.ty, &cell.value).map_err(|e| Error::invalid(format!("column '{}': {e}", column.name)))?;
        }
        let qualifier = stored(declared, cell.column_qualifier);
        Ok(Mutation::Set { family: family.id, qualifier, timestamp, value: cell.value })
    }

    fn delete_column(&self, delete: DeleteFromColumn) -> Result<Mutation> {
        let family = self.family(&delete.family_name)?;
        let qualifier = stored(family.declared.get(delete.column_qualifier.as_ref()), delete.column_qualifier);
        Ok(Mutation::DeleteColumn { family: family.id, qualifier, timestamps: timestamps(delete.time_range)? })
    }

    fn family(&self, name: &str) -> Result<&Family<'t>> {
        self.families.get(name).ok_or_else(|| {
            let known: Vec<_> = self.table.families.iter().filter(|f| !f.hidden).map(|f| f.name.as_str()).collect();
            Error::not_found(format!(
                "requested column family not found: table '{}' has no '{name}', but {}",
                self.table.name,
                known.join(", ")
            ))
        })
    }
}

fn stored(declared: Option<&&Column>, qualifier: Bytes) -> Bytes {
    declared.map_or_else(|| StoredQualifier::Named(qualifier).encode(), |column| column.stored())
}

fn unknown(kind: &str) -> Error {
    Error::unimplemented(format!("{kind}: SetCell, DeleteFromColumn, DeleteFromFamily and DeleteFromRow are there"))
}

/// A cell's timestamp; `own` is what the row says itself.
fn timestamp(micros: i64, own: Option<Micros>) -> Result<Option<Micros>> {
    match micros {
        SERVERS => Ok(own),
        0.. if micros % MILLISECOND == 0 => Ok(Some(Micros(micros))),
        _ => Err(Error::invalid(format!(
            "timestamp_micros {micros}: write whole milliseconds (a multiple of 1000) from 0 on, or -1 for the server's time"
        ))),
    }
}

/// Cell timestamps; 0 at either end is no bound there.
fn timestamps(range: Option<TimestampRange>) -> Result<TimeRange> {
    let Some(TimestampRange { start_timestamp_micros: start, end_timestamp_micros: end }) = range else { return Ok(TimeRange::ALL) };
    if start < 0 || end < 0 || (end != 0 && end < start) {
        return Err(Error::invalid(format!("time_range from {start} to {end}: write an end that is not before the start, or 0 for none")));
    }
    Ok(TimeRange { start: if start == 0 { Micros::MIN } else { Micros(start) }, end: if end == 0 { Micros::MAX } else { Micros(end) } })
}
