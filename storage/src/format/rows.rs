//! Rows of a log record, compact: columns once, timestamps as differences.
//!
//! ```text
//! columns   count, then of each: family, length, qualifier
//! rows      count, then of each:
//!           length, key
//!           timestamp − that of the row before, the first from 0 (i)
//!           deletes: count, then of each: kind; 1 and 2: family; 2: length, qualifier, start (i), end (i)
//!           cells: count, then of each: column · 2 + (1 if timestamp or kind follow);
//!                  if they do: kind (u8), timestamp − the row's (i); length, value
//! ```
//!
//! Integers are varints, those marked (i) signed ones.

use super::row::{CellKind, Delete, StoredCell, StoredRow};
use crate::codec::{Damaged, Input, Result, put_bytes, put_i64, put_u64};
use bytes::Bytes;
use common::ids::FamilyId;
use common::time::Micros;
use serde::{Deserialize, Deserializer, Serializer};
use std::collections::HashMap;

const ROW: u64 = 0;
const FAMILY: u64 = 1;
const COLUMN: u64 = 2;
/// Elements that room is made for before they are read.
const MAX_HINT: usize = 1024;

/// Serializes rows as one byte string.
pub(super) fn serialize<S: Serializer>(rows: &[StoredRow], s: S) -> std::result::Result<S::Ok, S::Error> {
    s.serialize_bytes(&encode(rows))
}

/// Reads what [`serialize`] wrote.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Vec<StoredRow>, D::Error> {
    let stored = Bytes::deserialize(d)?;
    decode(&stored).map_err(|Damaged(why)| serde::de::Error::custom(format!("rows: {why}")))
}

/// The columns of a record's rows, each once.
#[derive(Default)]
struct Columns<'a> {
    places: HashMap<(FamilyId, &'a Bytes), u64>,
    list: Vec<(FamilyId, &'a Bytes)>,
    /// The place after that of the cell before: rows of one table mostly repeat their columns.
    next: usize,
}

impl<'a> Columns<'a> {
    fn place(&mut self, cell: &'a StoredCell) -> u64 {
        let column = (cell.family, &cell.qualifier);
        let place = if self.list.get(self.next).is_some_and(|guess| *guess == column) {
            self.next
        } else {
            let new = self.list.len();
            let place = *self.places.entry(column).or_insert(new as u64) as usize;
            if place == new {
                self.list.push(column);
            }
            place
        };
        self.next = place + 1;
        place as u64
    }
}

fn encode(rows: &[StoredRow]) -> Vec<u8> {
    let mut columns = Columns::default();
    let mut body =
        Vec::with_capacity(rows.iter().map(|r| 32 + r.key.len() + r.cells.iter().map(|c| 4 + c.value.len()).sum::<usize>()).sum());
    put_u64(&mut body, rows.len() as u64);
    let mut last = Micros(0);
    for row in rows {
        columns.next = 0;
        put_row(&mut body, row, &mut last, &mut columns);
    }
    let mut out = Vec::with_capacity(body.len() + 16 * columns.list.len() + 2);
    put_u64(&mut out, columns.list.len() as u64);
    for (family, qualifier) in &columns.list {
        put_u64(&mut out, u64::from(family.0));
        put_bytes(&mut out, qualifier);
    }
    out.append(&mut body);
    out
}

fn put_row<'a>(out: &mut Vec<u8>, row: &'a StoredRow, last: &mut Micros, columns: &mut Columns<'a>) {
    let base = row.cells.first().map_or(*last, |c| c.timestamp);
    put_bytes(out, &row.key);
    put_i64(out, base.0.wrapping_sub(last.0));
    *last = base;
    put_u64(out, row.deletes.len() as u64);
    row.deletes.iter().for_each(|d| put_delete(out, d));
    put_u64(out, row.cells.len() as u64);
    for cell in &row.cells {
        let plain = cell.timestamp == base && cell.kind == CellKind::Value;
        put_u64(out, columns.place(cell) << 1 | u64::from(!plain));
        if !plain {
            out.push(cell.kind.byte());
            put_i64(out, cell.timestamp.0.wrapping_sub(base.0));
        }
        put_bytes(out, &cell.value);
    }
}

fn put_delete(out: &mut Vec<u8>, delete: &Delete) {
    match delete {
        Delete::Row => put_u64(out, ROW),
        Delete::Family(family) => {
            put_u64(out, FAMILY);
            put_u64(out, u64::from(family.0));
        }
        Delete::Column { family, qualifier, start, end } => {
            put_u64(out, COLUMN);
            put_u64(out, u64::from(family.0));
            put_bytes(out, qualifier);
            put_i64(out, start.0);
            put_i64(out, end.0);
        }
    }
}

fn decode(stored: &Bytes) -> Result<Vec<StoredRow>> {
    let mut input = Input::new(stored, 0, stored.len());
    let columns = list(&mut input, |input| Ok((FamilyId(input.u32()?), input.slice()?)))?;
    let mut last = Micros(0);
    let rows = list(&mut input, |input| take_row(input, &mut last, &columns))?;
    if input.is_done() { Ok(rows) } else { Err(Damaged("bytes follow the last row")) }
}

fn list<T>(input: &mut Input<'_>, mut one: impl FnMut(&mut Input<'_>) -> Result<T>) -> Result<Vec<T>> {
    let count = usize::try_from(input.u64()?).map_err(|_| Damaged("a count is above the address space"))?;
    // Everything that is counted takes a byte at least.
    if count > input.left() {
        return Err(Damaged("a count reaches over the end"));
    }
    let mut out = Vec::with_capacity(count.min(MAX_HINT));
    for _ in 0..count {
        out.push(one(input)?);
    }
    Ok(out)
}

fn take_row(input: &mut Input<'_>, last: &mut Micros, columns: &[(FamilyId, Bytes)]) -> Result<StoredRow> {
    let key = input.slice()?;
    let base = Micros(last.0.wrapping_add(input.i64()?));
    *last = base;
    let deletes = list(input, take_delete)?;
    let cells = list(input, |input| {
        let tag = input.u64()?;
        let column = usize::try_from(tag >> 1).ok().and_then(|place| columns.get(place));
        let (family, qualifier) = column.cloned().ok_or(Damaged("a column that is not listed"))?;
        let (kind, timestamp) = match tag & 1 {
            0 => (CellKind::Value, base),
            _ => (CellKind::of(input.u8()?).ok_or(Damaged("a cell of an unknown kind"))?, Micros(base.0.wrapping_add(input.i64()?))),
        };
        Ok(StoredCell { family, qualifier, timestamp, kind, value: input.slice()? })
    })?;
    Ok(StoredRow { key, deletes, cells })
}

fn take_delete(input: &mut Input<'_>) -> Result<Delete> {
    match input.u64()? {
        ROW => Ok(Delete::Row),
        FAMILY => Ok(Delete::Family(FamilyId(input.u32()?))),
        COLUMN => {
            let (family, qualifier) = (FamilyId(input.u32()?), input.slice()?);
            Ok(Delete::Column { family, qualifier, start: Micros(input.i64()?), end: Micros(input.i64()?) })
        }
        _ => Err(Damaged("a delete of an unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn small() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from)
    }

    fn time() -> impl Strategy<Value = Micros> {
        prop_oneof![Just(Micros(1_700_000_000_000_000)), any::<i64>().prop_map(Micros)]
    }

    fn cell() -> impl Strategy<Value = StoredCell> {
        let kind = prop_oneof![3 => Just(0u8), 1 => 0u8..4].prop_map(|n| CellKind::of(n).unwrap());
        (0u32..3, small(), time(), kind, small()).prop_map(|(family, qualifier, timestamp, kind, value)| StoredCell {
            family: FamilyId(family),
            qualifier,
            timestamp,
            kind,
            value,
        })
    }

    fn delete() -> impl Strategy<Value = Delete> {
        prop_oneof![
            Just(Delete::Row),
            any::<u32>().prop_map(|f| Delete::Family(FamilyId(f))),
            (any::<u32>(), small(), time(), time()).prop_map(|(f, qualifier, start, end)| Delete::Column {
                family: FamilyId(f),
                qualifier,
                start,
                end
            }),
        ]
    }

    fn rows() -> impl Strategy<Value = Vec<StoredRow>> {
        let row = (small(), prop::collection::vec(delete(), 0..3), prop::collection::vec(cell(), 0..6));
        prop::collection::vec(row.prop_map(|(key, deletes, cells)| StoredRow { key, deletes, cells }), 0..6)
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in rows()) {
            prop_assert_eq!(decode(&encode(&rows).into()), Ok(rows));
        }

        #[test]
        fn damage_is_an_error_or_other_rows(rows in rows(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
            let stored = encode(&rows);
            let mut damaged = stored.clone();
            let at = at.index(damaged.len());
            damaged[at] ^= 1 << bit;
            let _ = decode(&damaged.into());
            let cut = cut.index(stored.len());
            prop_assert!(decode(&Bytes::from(stored).slice(..cut)).is_err() || cut == 0);
        }
    }

    #[test]
    fn rows_of_one_shape_name_their_columns_once() {
        let cell = |q: &'static str| StoredCell {
            family: FamilyId(1),
            qualifier: Bytes::from_static(q.as_bytes()),
            timestamp: Micros(1_700_000_000_000_000),
            kind: CellKind::Value,
            value: Bytes::from_static(b"value"),
        };
        let row = StoredRow { key: Bytes::from_static(b"key"), deletes: vec![], cells: vec![cell("first"), cell("second"), cell("third")] };
        let one = encode(std::slice::from_ref(&row)).len();
        let ten = encode(&vec![row; 10]).len();
        // Key with its length, timestamp, two counts, and of each cell its column, length and value.
        assert_eq!(ten - one, 9 * (4 + 1 + 2 + 3 * 7));
    }
}
