//! Reading one row out of its buffer.

use super::columns::{Columns, UNLISTED};
use super::{Column, RowPlace};
use crate::codec::{Damaged, Result, Walk};
use crate::format::row::{CellKind, Delete, StoredCell, StoredRow};
use bytes::Bytes;
use common::ids::FamilyId;
use common::time::Micros;

pub(super) const OWN_TIMESTAMP: u64 = 1;
pub(super) const DELETES: u64 = 2;
pub(super) const MIXED: u64 = 4;
pub(super) const COUNT_SHIFT: u32 = 3;

pub(super) const ROW: u64 = 0;
pub(super) const FAMILY: u64 = 1;
pub(super) const COLUMN: u64 = 2;

/// One row in its buffer. It was checked when the buffer was made: what does not decode ends it.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'a> {
    columns: &'a Columns,
    data: &'a Bytes,
    key: &'a [u8],
    flags: u64,
    timestamp: Micros,
    /// Deletes and what follows.
    rest: Walk<'a>,
}

/// A cell of a row.
#[derive(Clone, Copy, Debug)]
pub struct CellRef<'a> {
    /// Which of the buffer's columns.
    pub(crate) column: usize,
    pub(crate) timestamp: Micros,
    pub(crate) kind: CellKind,
    pub(crate) value: &'a [u8],
}

/// What a row says before its deletes and cells.
struct Head {
    flags: u64,
    timestamp: Option<Micros>,
}

impl Head {
    fn take(walk: &mut Walk<'_>) -> Result<Self> {
        let flags = walk.u64()?;
        let timestamp = if flags & OWN_TIMESTAMP == 0 { None } else { Some(Micros(walk.i64()?)) };
        Ok(Self { flags, timestamp })
    }
}

impl<'a> RowRef<'a> {
    pub(super) fn new(columns: &'a Columns, data: &'a Bytes, place: RowPlace, given: Micros) -> Self {
        let key = place.of(data);
        let mut rest = Walk::new(data.get(place.at() + key.len()..).unwrap_or_default());
        let head = Head::take(&mut rest).unwrap_or(Head { flags: 0, timestamp: None });
        Self { columns, data, key, flags: head.flags, timestamp: head.timestamp.unwrap_or(given), rest }
    }

    pub(crate) fn key(&self) -> &'a [u8] {
        self.key
    }

    /// What most of its cells have.
    pub(crate) fn timestamp(&self) -> Micros {
        self.timestamp
    }

    pub(crate) fn has_deletes(&self) -> bool {
        self.flags & DELETES != 0
    }

    /// Whether it sets one plain value of each of some columns, all with its timestamp, and deletes nothing.
    pub(crate) fn is_plain(&self) -> bool {
        self.flags & (DELETES | MIXED) == 0 && self.cell_count() > 0
    }

    pub(crate) fn cell_count(&self) -> usize {
        (self.flags >> COUNT_SHIFT) as usize
    }

    /// Family and qualifier of a column of its buffer.
    pub(crate) fn column(&self, n: usize) -> Option<&'a Column> {
        self.columns.get(n)
    }

    /// That of all its cells, if its buffer knows only one.
    pub(crate) fn family(&self) -> Option<FamilyId> {
        self.columns.family()
    }

    /// What [`RawRow::bytes`](crate::raw::RawRow::bytes) says of it if it is [plain](Self::is_plain).
    pub(crate) fn plain_bytes(&self) -> usize {
        let cell = |c: CellRef<'_>| 24 + c.value.len() + self.column(c.column).map_or(0, |(_, qualifier)| qualifier.len());
        self.key.len() + self.cells().map(cell).sum::<usize>()
    }

    /// Gives its deletes.
    pub(crate) fn deletes(&self, each: impl FnMut(Delete)) {
        let mut walk = self.rest;
        let _ = self.take_deletes(&mut walk, each);
    }

    fn take_deletes(&self, walk: &mut Walk<'a>, mut each: impl FnMut(Delete)) -> Result<()> {
        if !self.has_deletes() {
            return Ok(());
        }
        for _ in 0..walk.u64()? {
            each(match take_delete(walk)? {
                RawDelete::Row => Delete::Row,
                RawDelete::Family(family) => Delete::Family(family),
                RawDelete::Column(family, qualifier, start, end) => {
                    Delete::Column { family, qualifier: self.data.slice_ref(qualifier), start, end }
                }
            });
        }
        Ok(())
    }

    /// Its cells, in order.
    pub(crate) fn cells(&self) -> impl Iterator<Item = CellRef<'a>> + use<'a> {
        let mut walk = self.rest;
        let behind = self.take_deletes(&mut walk, |_| {});
        let (mixed, timestamp) = (self.flags & MIXED != 0, self.timestamp);
        let count = if behind.is_ok() { self.cell_count() } else { 0 };
        (0..count).map_while(move |_| take_cell(&mut walk, mixed, timestamp).ok())
    }

    /// A value of it, sharing the memory.
    pub(crate) fn share(&self, value: &'a [u8]) -> Bytes {
        self.data.slice_ref(value)
    }

    /// The row by itself.
    #[must_use]
    pub fn to_stored(&self) -> StoredRow {
        let mut deletes = Vec::new();
        self.deletes(|d| deletes.push(d));
        let cell = |c: CellRef<'a>| {
            let (family, qualifier) = self.column(c.column)?.clone();
            Some(StoredCell { family, qualifier, timestamp: c.timestamp, kind: c.kind, value: self.share(c.value) })
        };
        StoredRow { key: self.share(self.key), deletes, cells: self.cells().filter_map(cell).collect() }
    }
}

/// Checks what follows a key, up to the next row.
pub(super) fn check(walk: &mut Walk<'_>, columns: &Columns) -> Result<()> {
    let Head { flags, timestamp } = Head::take(walk)?;
    if flags & DELETES != 0 {
        for _ in 0..walk.u64()? {
            take_delete(walk)?;
        }
    }
    let (mixed, base) = (flags & MIXED != 0, timestamp.unwrap_or_default());
    for _ in 0..flags >> COUNT_SHIFT {
        let cell = take_cell(walk, mixed, base)?;
        columns.get(cell.column).ok_or(UNLISTED)?;
    }
    Ok(())
}

#[inline]
fn take_cell<'a>(walk: &mut Walk<'a>, mixed: bool, base: Micros) -> Result<CellRef<'a>> {
    let tag = walk.u64()?;
    let (mut timestamp, mut kind) = (base, CellKind::Value);
    if mixed && tag & 1 == 1 {
        kind = CellKind::of(walk.u8()?).ok_or(Damaged("a cell of an unknown kind"))?;
        timestamp = Micros(base.0.wrapping_add(walk.i64()?));
    }
    let column = usize::try_from(if mixed { tag >> 1 } else { tag }).map_err(|_| UNLISTED)?;
    Ok(CellRef { column, timestamp, kind, value: walk.slice()? })
}

enum RawDelete<'a> {
    Row,
    Family(FamilyId),
    Column(FamilyId, &'a [u8], Micros, Micros),
}

fn take_delete<'a>(walk: &mut Walk<'a>) -> Result<RawDelete<'a>> {
    match walk.u64()? {
        ROW => Ok(RawDelete::Row),
        FAMILY => Ok(RawDelete::Family(FamilyId(walk.u32()?))),
        COLUMN => Ok(RawDelete::Column(FamilyId(walk.u32()?), walk.slice()?, Micros(walk.i64()?), Micros(walk.i64()?))),
        _ => Err(Damaged("a delete of an unknown kind")),
    }
}
