//! Event times of row keys, and which of them a read wants.

use common::key::KeyRange;
use common::schema::{KeySchema, Table, TableKind};
use common::time::{Micros, TimeRange};
use std::sync::Arc;

/// Ranges of a read above which it is not worth finding out which times they hold.
const MAX_RANGES: usize = 64;

/// Which event times a read wants, where a key part holds them.
#[derive(Clone, Debug)]
pub(crate) struct EventTimes {
    table: Arc<Table>,
    part: usize,
    /// Those of all keys that are wanted.
    pub(crate) wanted: TimeRange,
    /// Whether keys within the ranges may have others: rows that are then left out of some SSTables only.
    partial: bool,
}

impl EventTimes {
    /// Of rows in `ranges`, as far as they lie in `hint`; `None` if the keys hold no event time.
    pub(crate) fn of(table: &Arc<Table>, ranges: &[KeyRange], hint: Option<TimeRange>) -> Option<Self> {
        let part = time_part(table)?;
        let keys = table.key_schema();
        let mut wanted = if ranges.is_empty() || ranges.len() > MAX_RANGES { TimeRange::ALL } else { EMPTY };
        for range in ranges.iter().take(MAX_RANGES) {
            let times = keys.event_times(range);
            wanted = TimeRange { start: wanted.start.min(times.start), end: wanted.end.max(times.end) };
        }
        if let Some(hint) = hint {
            wanted = TimeRange { start: wanted.start.max(hint.start), end: wanted.end.min(hint.end) };
        }
        Some(Self { table: table.clone(), part, wanted, partial: hint.is_some() })
    }

    /// Whether some rows may come without all of their cells: those that do not [pass](Self::passes).
    pub(crate) fn is_partial(&self) -> bool {
        self.partial
    }

    /// The event time in a row key.
    pub(crate) fn time(&self, key: &[u8]) -> Option<Micros> {
        event_time(&self.table, self.part, key)
    }

    /// Whether a row of the merge is whole: its SSTables were not left out.
    pub(crate) fn passes(&self, key: &[u8]) -> bool {
        !self.partial || self.time(key).is_none_or(|t| self.wanted.contains(t))
    }

    /// Whether an SSTable whose rows have these event times may hold wanted rows.
    pub(crate) fn meet(&self, times: Option<(Micros, Micros)>) -> bool {
        let TimeRange { start, end } = self.wanted;
        times.is_none_or(|(low, high)| start <= high && (low < end || end == Micros::MAX))
    }
}

const EMPTY: TimeRange = TimeRange { start: Micros::MAX, end: Micros::MIN };

/// The key part that holds the event time.
pub(crate) fn time_part(table: &Table) -> Option<usize> {
    table.time_column.as_deref().and_then(|name| table.key_part(name)).map(|(i, _)| i)
}

/// The event time in a row key. Not by [`Table::key_schema`], which looks the part up by its name.
pub(crate) fn event_time(table: &Table, part: usize, key: &[u8]) -> Option<Micros> {
    KeySchema::new(&table.key, table.kind == TableKind::Derived).with_time(Some(part)).event_time(key)
}
