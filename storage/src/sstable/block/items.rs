//! Bodies of block entries: a row's cells, or its deletes.
//!
//! ```text
//! cells:    column, timestamp − last (i), seq − base (i), length, value
//!           column 0: family, length, qualifier follow; n > 0: entry n − 1 of the dictionary
//! deletes:  kind, seq − base (i); kind 1 and 2: family; kind 2: length, qualifier, start (i), end (i)
//! ```

use super::super::bytes::{Damaged, Input, Result, put_bytes, put_i64, put_u64};
use super::super::properties::Dictionary;
use super::keyed::{Base, Block};
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
    put_u64(out, column.map_or(0, |c| u64::from(c) + 1));
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

/// Which columns of a file a scan wants.
#[derive(Debug)]
pub(in crate::sstable) struct Wanted {
    listed: Vec<bool>,
    columns: Columns,
    /// Others are given without values.
    others: bool,
    /// Nothing numbered above is given.
    at: Seq,
}

impl Wanted {
    pub(in crate::sstable) fn new(scan: &Scan, dictionary: &Dictionary) -> Self {
        let listed = dictionary.columns.iter().map(|c| scan.columns.wants(c.family, &c.qualifier)).collect();
        Self { listed, columns: scan.columns.clone(), others: scan.others, at: scan.at }
    }
}

/// Appends the wanted cells of a body.
pub(in crate::sstable) fn read_cells(
    block: &Block,
    body: (usize, usize),
    dictionary: &Dictionary,
    wanted: &Wanted,
    out: &mut Vec<RawCell>,
) -> Result<()> {
    let Base { seq: base, timestamp: mut last } = block.base();
    let mut input = Input::new(block.data(), body.0, body.1);
    while !input.is_done() {
        let place = input.u64()?;
        let inline = if place == 0 { Some((FamilyId(input.u32()?), input.slice()?)) } else { None };
        last = Micros(last.0.wrapping_add(input.i64()?));
        let seq = Seq(base.0.wrapping_add(input.i64()? as u64));
        let (from, to) = input.span()?;
        let listed = (place as usize).wrapping_sub(1);
        let asked = match &inline {
            Some((family, qualifier)) => wanted.columns.wants(*family, qualifier),
            None => wanted.listed.get(listed).copied().unwrap_or(true),
        };
        if seq > wanted.at || !(asked || wanted.others) {
            continue;
        }
        let (family, qualifier) = match inline {
            Some(column) => column,
            None => dictionary
                .columns
                .get(listed)
                .map(|c| (c.family, c.qualifier.clone()))
                .ok_or(Damaged("a column is not in the dictionary"))?,
        };
        let value = if asked { block.data().slice(from..to) } else { Bytes::new() };
        out.push(RawCell { family, qualifier, timestamp: last, seq, kind: CellKind::Value, value });
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
