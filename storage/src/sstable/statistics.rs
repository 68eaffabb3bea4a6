//! Bounds of the values of declared columns in a block.

use super::block::column::CellValues;
use super::index::{ColumnBounds, PREFIX_BYTES, ValueBounds};
use super::layout::Kind;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;

/// Gathers the bounds of one block.
#[derive(Debug, Default)]
pub(super) struct BlockBounds {
    columns: BTreeMap<u32, Gathered>,
}

#[derive(Debug)]
struct Gathered {
    rows: usize,
    values: Option<ValueBounds>,
}

impl BlockBounds {
    /// Sees the entries of a column's page.
    pub(super) fn see_page(&mut self, place: u32, kind: Kind, values: &CellValues, entries: Range<usize>) {
        let rows = entries.len();
        let found = match (values, kind) {
            (CellValues::Fixed8(list), Kind::Float) => floats(&list[entries]),
            (CellValues::Fixed8(list), _) => ints(&list[entries]),
            (CellValues::Bool(list), _) => {
                let list = &list[entries];
                list.iter()
                    .copied()
                    .reduce(|a, b| a & b)
                    .zip(list.iter().copied().reduce(|a, b| a | b))
                    .map(|(a, b)| ValueBounds::Bool(a, b))
            }
            (CellValues::Var(..), _) => {
                let lowest = entries.clone().map(|i| values.var(i)).min();
                lowest.zip(entries.map(|i| values.var(i)).max()).map(|(a, b)| prefixes(a, b))
            }
        };
        self.add(place, rows, found);
    }

    /// Sees a cell of the overflow. `new`: no other cell of that row and column was seen.
    pub(super) fn see_cell(&mut self, place: u32, kind: Kind, value: Option<&[u8]>, new: bool) {
        let found = value.and_then(|value| of_one(kind, value));
        self.add(place, usize::from(new), Some(found.unwrap_or(ValueBounds::Unknown)));
    }

    fn add(&mut self, place: u32, rows: usize, found: Option<ValueBounds>) {
        let column = self.columns.entry(place).or_insert(Gathered { rows: 0, values: None });
        column.rows += rows;
        column.values = match (column.values.take(), found) {
            (Some(a), Some(b)) => Some(join(a, b)),
            (a, b) => a.or(b),
        };
    }

    /// The bounds in a block of so many rows.
    pub(super) fn finish(self, rows: usize) -> Vec<ColumnBounds> {
        let bounds = |(place, g): (u32, Gathered)| ColumnBounds {
            place,
            nulls: rows.saturating_sub(g.rows) as u32,
            values: g.values.unwrap_or(ValueBounds::Unknown),
        };
        self.columns.into_iter().map(bounds).collect()
    }
}

fn ints(values: &[i64]) -> Option<ValueBounds> {
    let lowest = values.iter().copied().min()?;
    Some(ValueBounds::Int(lowest, values.iter().copied().max()?))
}

/// Doubles by their bits, compared as integers: the total order. It is its own inverse.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn floats(values: &[i64]) -> Option<ValueBounds> {
    let float = |key: i64| f64::from_bits(ordered(key) as u64);
    let lowest = values.iter().map(|bits| ordered(*bits)).min()?;
    Some(ValueBounds::Float(float(lowest), float(values.iter().map(|bits| ordered(*bits)).max()?)))
}

fn prefixes(lowest: &[u8], highest: &[u8]) -> ValueBounds {
    let cut = |value: &[u8]| Bytes::copy_from_slice(&value[..value.len().min(PREFIX_BYTES)]);
    ValueBounds::Prefix(cut(lowest), cut(highest))
}

fn of_one(kind: Kind, value: &[u8]) -> Option<ValueBounds> {
    let int = || <[u8; 8]>::try_from(value).ok().map(i64::from_be_bytes);
    match (kind, value) {
        (Kind::Int, _) => ints(&[int()?]),
        (Kind::Float, _) => floats(&[int()?]),
        (Kind::Bool, [byte @ (0 | 1)]) => Some(ValueBounds::Bool(*byte == 1, *byte == 1)),
        (Kind::Bool, _) => None,
        (Kind::Bytes, _) => Some(prefixes(value, value)),
    }
}

fn join(a: ValueBounds, b: ValueBounds) -> ValueBounds {
    use ValueBounds::{Bool, Float, Int, Prefix, Unknown};
    match (a, b) {
        (Int(a, b), Int(c, d)) => Int(a.min(c), b.max(d)),
        (Float(a, b), Float(c, d)) => Float(if a.total_cmp(&c).is_le() { a } else { c }, if b.total_cmp(&d).is_ge() { b } else { d }),
        (Bool(a, b), Bool(c, d)) => Bool(a & c, b | d),
        (Prefix(a, b), Prefix(c, d)) => Prefix(a.min(c), b.max(d)),
        _ => Unknown,
    }
}
