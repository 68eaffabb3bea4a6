//! Cells that are combined instead of replaced: sum, minimum, maximum of 8-byte big-endian integers.

use crate::format::{CellKind, combine, integer, integer_bytes};
use bytes::Bytes;
use common::ids::Seq;

/// The cells of one place and timestamp, highest seq first, down to the first plain value.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Highest seq first.
    links: Vec<(CellKind, Option<i64>)>,
    last: Seq,
    closed: bool,
}

impl Chain {
    /// Begins with the cell of the highest seq.
    pub(crate) fn new(kind: CellKind, value: Bytes) -> Self {
        Self { links: vec![(kind, integer(&value))], last: Seq::MAX, closed: kind == CellKind::Value }
    }

    /// Adds the next lower cell; what lies below a plain value is replaced, and a cell that came twice counts once.
    pub(crate) fn push(&mut self, seq: Seq, kind: CellKind, value: Bytes) {
        if !self.closed && seq < self.last {
            self.links.push((kind, integer(&value)));
            self.closed = kind == CellKind::Value;
        }
        self.last = seq;
    }

    /// What all of them are together. A value that is no integer counts as none.
    pub(crate) fn value(&self) -> Bytes {
        let combined = self.links.iter().rev().fold(None, |below, (kind, value)| combine(*kind, below, *value));
        combined.map_or_else(Bytes::new, integer_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(n: i64) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    #[test]
    fn a_chain_ends_at_the_first_plain_value_and_counts_doubles_once() {
        let mut sum = Chain::new(CellKind::Sum, cell(1));
        sum.push(Seq(9), CellKind::Sum, cell(10));
        sum.push(Seq(9), CellKind::Sum, cell(10));
        sum.push(Seq(8), CellKind::Value, cell(100));
        sum.push(Seq(7), CellKind::Sum, cell(1000));
        assert_eq!(sum.value(), cell(111));
        let mut least = Chain::new(CellKind::Min, cell(5));
        least.push(Seq(3), CellKind::Min, cell(-7));
        assert_eq!(least.value(), cell(-7));
        let mut most = Chain::new(CellKind::Max, cell(5));
        most.push(Seq(3), CellKind::Value, Bytes::from_static(b"text"));
        assert_eq!(most.value(), cell(5));
    }
}
