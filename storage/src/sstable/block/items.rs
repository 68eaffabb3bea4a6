//! Bodies of keyed entries: a row's cells, or its deletes.
//!
//! ```text
//! cells:    column and kind, timestamp − last (i), seq − base (i), length, value
//!           column and kind: the kind of the cell + 4 × column; column 0: family, length, qualifier follow;
//!           n > 0: entry n − 1 of the dictionary
//! deletes:  kind, seq − base (i); kind 1 and 2: family; kind 2: length, qualifier, start (i), end (i)
//! ```

use super::super::properties::Dictionary;
use super::keyed::{Base, Block};
use crate::codec::{Damaged, Input, Result, put_bytes, put_i64, put_u64};
use crate::format::{CellKind, Delete};
use crate::raw::{RawCell, RawDelete, Scan};
use bytes::Bytes;
use common::ids::{FamilyId, Seq};
use common::row::Columns;
use common::time::Micros;

const ROW: u64 = 0;
const FAMILY: u64 = 1;
const COLUMN: u64 = 2;

/// Appends a cell; `last` is the timestamp that its own is relative to. `column`: its place in the dictionary.
pub(in crate::sstable) fn put_cell(out: &mut Vec<u8>, cell: &RawCell, column: Option<u32>, base: Seq, last: Micros) {
    put_u64(out, column.map_or(0, |c| u64::from(c) + 1) << 2 | u64::from(cell.kind.byte()));
    if column.is_none() {
        put_u64(out, u64::from(cell.family.0));
        put_bytes(out, &cell.qualifier);
    }
    put_i64(out, cell.timestamp.0.wrapping_sub(last.0));
    put_i64(out, cell.seq.0.wrapping_sub(base.0) as i64);
    put_bytes(out, &cell.value);
}

pub(in crate::sstable) fn put_delete(out: &mut Vec<u8>, delete: &RawDelete, base: Seq) {
    let kind = match delete.what {
        Delete::Row => ROW,
        Delete::Family(_) => FAMILY,
        Delete::Column { .. } => COLUMN,
    };
    put_u64(out, kind);
    put_i64(out, delete.seq.0.wrapping_sub(base.0) as i64);
    match &delete.what {
        Delete::Row => {}
        Delete::Family(family) => put_u64(out, u64::from(family.0)),
        Delete::Column { family, qualifier, start, end } => {
            put_u64(out, u64::from(family.0));
            put_bytes(out, qualifier);
            put_i64(out, start.0);
            put_i64(out, end.0);
        }
    }
}

/// Which cells of a file a scan wants.
#[derive(Clone, Copy, Debug)]
pub(in crate::sstable) struct Wanted<'a> {
    scan: &'a Scan,
    /// Whether each column of the dictionary is wanted; empty: not known yet.
    listed: &'a [bool],
}

impl<'a> Wanted<'a> {
    /// For one row: columns are looked at as they come.
    pub(in crate::sstable) fn new(scan: &'a Scan) -> Self {
        Self { scan, listed: &[] }
    }

    /// For many rows, with [`Self::list`].
    pub(in crate::sstable) fn listed(scan: &'a Scan, listed: &'a [bool]) -> Self {
        Self { scan, listed }
    }

    /// Whether each column of the dictionary is wanted.
    pub(in crate::sstable) fn list(scan: &Scan, dictionary: &Dictionary) -> Vec<bool> {
        dictionary.columns.iter().map(|c| scan.columns.wants(c.family, &c.qualifier)).collect()
    }

    /// Nothing numbered above is given.
    pub(in crate::sstable) fn at(&self) -> Seq {
        self.scan.at
    }

    /// Whether columns that are not wanted are given without values.
    pub(in crate::sstable) fn others(&self) -> bool {
        self.scan.others
    }

    pub(in crate::sstable) fn asks(&self, family: FamilyId, qualifier: &[u8]) -> bool {
        self.scan.columns.wants(family, qualifier)
    }

    pub(in crate::sstable) fn asks_listed(&self, place: u32, dictionary: &Dictionary) -> bool {
        if matches!(self.scan.columns, Columns::All) {
            return true;
        }
        match self.listed.get(place as usize) {
            Some(asked) => *asked,
            None => dictionary.column(place).is_some_and(|c| self.asks(c.family, &c.qualifier)),
        }
    }
}

/// Appends the wanted cells of a body.
pub(in crate::sstable) fn read_cells(
    block: &Block,
    body: (usize, usize),
    dictionary: &Dictionary,
    wanted: &Wanted<'_>,
    out: &mut Vec<RawCell>,
) -> Result<()> {
    let Base { seq: base, timestamp: mut last } = block.base();
    let mut input = Input::new(block.data(), body.0, body.1);
    while !input.is_done() {
        let column = input.u64()?;
        let kind = CellKind::of(column as u8 & 3).ok_or(Damaged("a cell of an unknown kind"))?;
        let inline = if column >> 2 == 0 { Some((FamilyId(input.u32()?), input.span()?)) } else { None };
        last = Micros(last.0.wrapping_add(input.i64()?));
        let seq = Seq(base.0.wrapping_add(input.i64()? as u64));
        let (from, to) = input.span()?;
        let listed = u32::try_from((column >> 2).wrapping_sub(1)).unwrap_or(u32::MAX);
        let asked = match inline {
            Some((family, (from, to))) => wanted.asks(family, &block.data()[from..to]),
            None => wanted.asks_listed(listed, dictionary),
        };
        if seq > wanted.at() || !(asked || wanted.others()) {
            continue;
        }
        let (family, qualifier) = match inline {
            Some((family, (from, to))) => (family, block.data().slice(from..to)),
            None => {
                dictionary.column(listed).map(|c| (c.family, c.qualifier.clone())).ok_or(Damaged("a column is not in the dictionary"))?
            }
        };
        let value = if asked { block.data().slice(from..to) } else { Bytes::new() };
        out.push(RawCell { family, qualifier, timestamp: last, seq, kind, value });
    }
    Ok(())
}

/// Appends the deletes of a body with seqs up to `at`.
pub(in crate::sstable) fn read_deletes(block: &Block, body: (usize, usize), at: Seq, out: &mut Vec<RawDelete>) -> Result<()> {
    let mut input = Input::new(block.data(), body.0, body.1);
    while !input.is_done() {
        let kind = input.u64()?;
        let seq = Seq(block.base().seq.0.wrapping_add(input.i64()? as u64));
        let what = match kind {
            ROW => Delete::Row,
            FAMILY => Delete::Family(FamilyId(input.u32()?)),
            COLUMN => {
                let (family, qualifier) = (FamilyId(input.u32()?), input.slice()?);
                Delete::Column { family, qualifier, start: Micros(input.i64()?), end: Micros(input.i64()?) }
            }
            _ => return Err(Damaged("a delete is of an unknown kind")),
        };
        if seq <= at {
            out.push(RawDelete { what, seq });
        }
    }
    Ok(())
}
