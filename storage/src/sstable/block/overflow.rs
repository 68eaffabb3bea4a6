//! The overflow page: cells of a block that are in no column page, by row, family, qualifier, newest first.
//!
//! ```text
//! names varint, each: family varint, length varint, qualifier       columns that the dictionary does not have
//! rows varint, each: rows since the one before varint (the first: since −1), cells varint
//! cells, each: column and kind varint, timestamp − its row's svarint, seq − its row's svarint, length varint
//! values, one after the other
//! ```
//!
//! Column and kind: bits 0 and 1 the kind of the cell; bit 2: 0 the rest is a place in the dictionary, 1 a name's place.

use super::super::page::RawPage;
use super::columnar::{Overflow, OverflowCell, OverflowColumn, Versions};
use crate::codec::{Damaged, Input, Result, put_bytes, put_i64, put_u64};
use crate::format::CellKind;
use common::ids::FamilyId;

/// Appends the page.
pub(super) fn encode(overflow: &Overflow, data: &[u8], timestamps: &[i64], seqs: &[u64], out: &mut Vec<u8>) {
    put_u64(out, overflow.names.len() as u64);
    for (family, qualifier) in &overflow.names {
        put_u64(out, u64::from(family.0));
        put_bytes(out, qualifier);
    }
    put_u64(out, overflow.rows.len() as u64);
    let mut before = -1;
    for (at, row) in overflow.rows.iter().enumerate() {
        put_u64(out, (i64::from(*row) - before) as u64);
        before = i64::from(*row);
        put_u64(out, overflow.at(at).len() as u64);
    }
    for (at, row) in overflow.rows.iter().enumerate() {
        let (timestamp, seq) = (timestamps[*row as usize], seqs[*row as usize]);
        for cell in overflow.at(at) {
            let column = match cell.column {
                OverflowColumn::Listed(place) => u64::from(place) << 3,
                OverflowColumn::Named(name) => u64::from(name) << 3 | 4,
            };
            put_u64(out, column | u64::from(cell.kind.byte()));
            put_i64(out, cell.timestamp.wrapping_sub(timestamp));
            put_i64(out, cell.seq.wrapping_sub(seq) as i64);
            put_u64(out, u64::from(cell.value.1 - cell.value.0));
        }
    }
    overflow.cells.iter().for_each(|c| out.extend_from_slice(&data[c.value.0 as usize..c.value.1 as usize]));
}

/// Decodes the page of a block whose rows have these versions.
pub(super) fn decode(raw: &RawPage, versions: &Versions) -> Result<Overflow> {
    let data = raw.open()?;
    let mut input = Input::new(&data, 0, data.len());
    let names = read_names(&mut input)?;
    let (rows, ends) = read_rows(&mut input, versions.timestamps.len())?;
    let count = ends.last().copied().unwrap_or(0) as usize;
    let mut cells = Vec::with_capacity(count.min(input.left()));
    let (mut end, mut from) = (0u32, 0);
    for (row, to) in rows.iter().zip(&ends) {
        let of_row = versions.of(*row as usize);
        for _ in from..*to {
            cells.push(read_cell(&mut input, of_row, names.len(), &mut end)?);
        }
        from = *to;
    }
    if end as usize != input.left() {
        return Err(Damaged("values in the overflow do not fit it"));
    }
    let data = data.slice(input.at..);
    Ok(Overflow { rows, ends, cells, names, data })
}

fn read_names(input: &mut Input<'_>) -> Result<Vec<(FamilyId, bytes::Bytes)>> {
    let count = input.u64()? as usize;
    let mut names = Vec::with_capacity(count.min(input.left()));
    for _ in 0..count {
        names.push((FamilyId(input.u32()?), input.slice()?));
    }
    Ok(names)
}

fn read_rows(input: &mut Input<'_>, of_block: usize) -> Result<(Vec<u32>, Vec<u32>)> {
    let count = input.u64()? as usize;
    if count > of_block {
        return Err(Damaged("more rows in the overflow than in the block"));
    }
    let (mut rows, mut ends) = (Vec::with_capacity(count), Vec::with_capacity(count));
    // Rows from 1 on, so that a step of 0 is told apart.
    let (mut row, mut cells) = (0u64, 0u64);
    for _ in 0..count {
        let (step, of_row) = (input.u64()?, input.u64()?);
        row = row.checked_add(step).filter(|row| step > 0 && *row <= of_block as u64).ok_or(Damaged("a row behind its block's last"))?;
        // Each cell takes four bytes at least.
        cells = cells.checked_add(of_row).filter(|c| *c <= input.left() as u64).ok_or(Damaged("more cells than bytes"))?;
        rows.push(row as u32 - 1);
        ends.push(cells as u32);
    }
    Ok((rows, ends))
}

fn read_cell(input: &mut Input<'_>, (timestamp, seq): (i64, u64), names: usize, end: &mut u32) -> Result<OverflowCell> {
    let column = input.u64()?;
    let kind = CellKind::of(column as u8 & 3).ok_or(Damaged("a cell of an unknown kind"))?;
    let place = u32::try_from(column >> 3).map_err(|_| Damaged("a column's place is above 32 bits"))?;
    let column = match column & 4 {
        0 => OverflowColumn::Listed(place),
        _ if (place as usize) < names => OverflowColumn::Named(place),
        _ => return Err(Damaged("a column without a name")),
    };
    let timestamp = timestamp.wrapping_add(input.i64()?);
    let seq = seq.wrapping_add(input.i64()? as u64);
    let from = *end;
    *end = input.u32()?.checked_add(from).ok_or(Damaged("values in the overflow are above 4 GiB"))?;
    Ok(OverflowCell { column, timestamp, seq, kind, value: (from, *end) })
}
