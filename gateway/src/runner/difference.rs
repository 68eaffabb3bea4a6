//! A run's output against what its table holds: only what differs is staged.

use super::records::{Item, holds};
use super::stored::{StoredRow, checksum};
use crate::rows::arrow::OutputRow;
use common::row::{Mutation, Row, RowMutation};
use common::schema::Table;
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, Result};
use derived::document::OutputWindow;
use std::cmp::Ordering;
use std::iter::Peekable;
use std::vec::IntoIter;

/// What to stage, and what it replaces.
#[derive(Debug, Default)]
pub struct Difference {
    /// In key order.
    pub mutations: Vec<RowMutation>,
    /// Rows (merge: parts) that the windows held before.
    pub before: Vec<Item>,
    /// Those they hold afterwards.
    pub after: Vec<Item>,
}

/// Which rows of its table a run computes anew.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// All of them.
    Whole,
    /// Those with a time in these windows.
    Windows(&'a RangeSet, &'a OutputWindow),
}

/// Compares a sorted output with the table's rows, which are given in key order.
pub struct Comparison<'a> {
    table: &'a Table,
    scope: Scope<'a>,
    timestamp: Micros,
    output: Peekable<IntoIter<OutputRow>>,
    found: Difference,
}

impl<'a> Comparison<'a> {
    /// `output` is sorted by key; changed cells get `timestamp`.
    ///
    /// # Errors
    /// `InvalidArgument` if two output rows have one key.
    pub fn new(table: &'a Table, scope: Scope<'a>, output: Vec<OutputRow>, timestamp: Micros) -> Result<Self> {
        if let Some(pair) = output.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(Error::invalid(format!("table '{}': two rows have the key ({})", table.name, key_text(table, &pair[0].key))));
        }
        let item = |r: &OutputRow| Item { time: r.time.unwrap_or_default(), checksum: checksum(&r.key, &r.cells) };
        let found = Difference { after: output.iter().map(item).collect(), ..Difference::default() };
        Ok(Self { table, scope, timestamp, output: output.into_iter().peekable(), found })
    }

    /// Takes the table's next row.
    ///
    /// # Errors
    /// `InvalidArgument` if the output has a row of the same key, but this one lies in a window that is not computed.
    pub fn stored(&mut self, row: Row) -> Result<()> {
        let stored = StoredRow::of(self.table, row);
        self.insert_below(&stored.key);
        let time = match self.scope {
            Scope::Whole => Micros::default(),
            Scope::Windows(_, window) => stored.time(self.table, window)?,
        };
        let computed = self.output.next_if(|next| next.key == stored.key);
        if let Scope::Windows(windows, _) = self.scope
            && !holds(windows, time)
        {
            return if computed.is_some() { Err(self.elsewhere(&stored, time)) } else { Ok(()) };
        }
        self.found.before.push(Item { time, checksum: checksum(&stored.key, &stored.shown) });
        match computed {
            None => self.found.mutations.push(RowMutation { key: stored.key, mutations: vec![Mutation::DeleteRow] }),
            Some(new) if new.cells != stored.shown => self.found.mutations.push(new.replace(self.timestamp)),
            Some(_) => {}
        }
        Ok(())
    }

    /// All that differs.
    #[must_use]
    pub fn finish(mut self) -> Difference {
        let timestamp = self.timestamp;
        self.found.mutations.extend(self.output.map(|row| row.replace(timestamp)));
        self.found
    }

    fn insert_below(&mut self, key: &[u8]) {
        while let Some(new) = self.output.next_if(|next| next.key.as_ref().cmp(key) == Ordering::Less) {
            self.found.mutations.push(new.replace(self.timestamp));
        }
    }

    fn elsewhere(&self, stored: &StoredRow, time: Micros) -> Error {
        Error::invalid(format!(
            "table '{}': the key ({}) is already taken by a row at {time}, in a window of its own; add the time column to the key",
            self.table.name,
            key_text(self.table, &stored.key)
        ))
    }
}

/// A row key as people read it.
pub(super) fn key_text(table: &Table, key: &[u8]) -> String {
    let shown: Vec<_> = table.key.iter().filter(|p| !p.hidden).map(|p| p.name.as_str()).collect();
    match table.key_schema().decode(key) {
        Ok(values) => crate::rows::arrow::describe(&shown, &values),
        Err(_) => format!("{key:02x?}"),
    }
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
