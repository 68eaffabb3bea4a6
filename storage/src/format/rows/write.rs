//! Encoding rows, before the timestamp that the server will give is known.

use super::columns::{Numbering, Shapes};
use super::row::{COLUMN, COUNT_SHIFT, DELETES, FAMILY, MIXED, OWN_TIMESTAMP, ROW};
use super::{BATCH, RowPlace, Rows};
use crate::codec::{put_bytes, put_i64, put_u64};
use crate::format::row::{CellKind, Delete, StoredCell, StoredRow};
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Mutation, RowMutation};
use common::time::{Micros, TimeRange};

/// Stands for the timestamp that the server will give.
const GIVEN: Micros = Micros(0);

/// Rows on their way into one buffer. Row mutations are reduced as far as they can be now.
#[derive(Debug, Default)]
pub struct Draft {
    columns: Numbering,
    data: Vec<u8>,
    places: Vec<RowPlace>,
    /// Those whose reduction the timestamp decides, by number; nothing of them is in `data`.
    whole: Vec<(usize, RowMutation)>,
}

impl Draft {
    /// Makes room for these rows, which mostly have the columns of those before.
    #[must_use]
    pub(crate) fn for_rows(rows: &[RowMutation], shapes: &Shapes) -> Self {
        let value = |m: &Mutation| match m {
            Mutation::Set { value, .. } => value.len(),
            // With kind and timestamp.
            Mutation::Combine { .. } => 12,
            _ => 0,
        };
        // Of most cells column and length take two or three bytes.
        let row = |r: &RowMutation| 4 + r.key.len() + r.mutations.iter().map(|m| 3 + value(m)).sum::<usize>();
        let bytes = rows.iter().map(row).sum();
        let columns = Numbering::begin_with(shapes.last());
        Self { columns, data: Vec::with_capacity(bytes), places: Vec::with_capacity(rows.len()), ..Self::default() }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes that they will hold in memory, about, and hardly more.
    #[must_use]
    pub fn weight(&self) -> usize {
        let whole: usize = self.whole.iter().map(|(_, row)| StoredRow::weight_before(&row.key, &row.mutations)).sum();
        BATCH + self.data.len() + super::ROW * self.places.len() + whole
    }

    /// Adds a row mutation.
    pub fn push(&mut self, row: RowMutation) {
        match Sets::of(&row.mutations) {
            Some(Sets::Given) => self.push_sets(&row.key, None, &row.mutations),
            Some(Sets::Explicit(first)) => self.push_sets(&row.key, Some(first), &row.mutations),
            None => self.push_other(row),
        }
    }

    /// Adds sets of rising columns; `base`: the timestamp of the first, `None` if all get the server's.
    fn push_sets(&mut self, key: &[u8], base: Option<Micros>, sets: &[Mutation]) {
        let mixed = sets.iter().any(|m| matches!(m, Mutation::Set { timestamp, .. } if *timestamp != base));
        let flags = if mixed { MIXED } else { 0 };
        self.begin(key, base, flags | (sets.len() as u64) << COUNT_SHIFT);
        for set in sets {
            if let Mutation::Set { family, qualifier, timestamp, value } = set {
                let own = timestamp.zip(base).filter(|(t, base)| t != base);
                let own = own.map(|(t, base)| (CellKind::Value, t.0.wrapping_sub(base.0)));
                self.put_cell((*family, qualifier), mixed, own, value);
            }
        }
    }

    fn push_other(&mut self, mut row: RowMutation) {
        if Sets::sort(&mut row.mutations) {
            self.push(row);
        } else if let Some(given) = independent(&row.mutations) {
            let reduced = StoredRow::reduce(row, GIVEN);
            self.put_stored(&reduced, given.then_some(GIVEN));
        } else {
            self.whole.push((self.places.len(), row));
            self.places.push(RowPlace::MISSING);
        }
    }

    /// Adds a reduced row; cells with the timestamp `given` are the shortest.
    pub fn push_stored(&mut self, row: &StoredRow, given: Micros) {
        self.put_stored(row, Some(given));
    }

    fn put_stored(&mut self, row: &StoredRow, given: Option<Micros>) {
        let base = row.cells.first().map(|c| c.timestamp).or(given).unwrap_or_default();
        let own = |c: &StoredCell| c.timestamp != base || c.kind != CellKind::Value;
        let mixed = row.cells.iter().any(own);
        let flags = if mixed { MIXED } else { 0 } | if row.deletes.is_empty() { 0 } else { DELETES };
        self.begin(&row.key, Some(base).filter(|_| given != Some(base)), flags | (row.cells.len() as u64) << COUNT_SHIFT);
        if !row.deletes.is_empty() {
            put_u64(&mut self.data, row.deletes.len() as u64);
            row.deletes.iter().for_each(|d| put_delete(&mut self.data, d));
        }
        for c in &row.cells {
            let own = own(c).then(|| (c.kind, c.timestamp.0.wrapping_sub(base.0)));
            self.put_cell((c.family, &c.qualifier), mixed, own, &c.value);
        }
    }

    fn begin(&mut self, key: &[u8], timestamp: Option<Micros>, flags: u64) {
        self.columns.begin_row();
        put_bytes(&mut self.data, key);
        self.places.push(RowPlace::new(self.data.len() - key.len(), key.len()));
        put_u64(&mut self.data, flags | if timestamp.is_some() { OWN_TIMESTAMP } else { 0 });
        timestamp.into_iter().for_each(|t| put_i64(&mut self.data, t.0));
    }

    fn put_cell(&mut self, (family, qualifier): (FamilyId, &Bytes), mixed: bool, own: Option<(CellKind, i64)>, value: &[u8]) {
        let column = self.columns.of(family, qualifier) as u64;
        put_u64(&mut self.data, if mixed { column << 1 | u64::from(own.is_some()) } else { column });
        if let Some((kind, timestamp)) = own {
            self.data.push(kind.byte());
            put_i64(&mut self.data, timestamp);
        }
        put_bytes(&mut self.data, value);
    }

    /// The rows; `given` is the server's timestamp.
    #[must_use]
    pub fn finish(self, given: Micros) -> Rows {
        let this = if self.whole.is_empty() { self } else { self.reduce_whole(given) };
        let mut data = this.data;
        // What was estimated too large must not stay as long as the memtable.
        if data.capacity() - data.len() > data.len() / 8 {
            data.shrink_to_fit();
        }
        let used = this.columns.used();
        let (columns, shared) = this.columns.finish();
        Rows { columns, data: data.into(), places: this.places, shared, used }
    }

    /// The same rows, all of them encoded.
    fn reduce_whole(self, given: Micros) -> Self {
        let Self { columns, data, places, whole } = self;
        let mut out = Self { columns, ..Self::default() };
        let mut whole = whole.into_iter().peekable();
        // Each of the others ends where the next one begins.
        let starts: Vec<usize> = places.iter().filter(|p| !p.is_missing()).map(|p| p.start()).collect();
        let mut spans = starts.iter().copied().zip(starts.iter().copied().skip(1).chain([data.len()]));
        for (n, place) in places.iter().enumerate() {
            if let Some((_, row)) = whole.next_if(|(at, _)| *at == n) {
                out.push_stored(&StoredRow::reduce(row, given), given);
            } else if let Some((from, to)) = spans.next() {
                out.places.push(RowPlace::new(out.data.len() + place.at() - from, place.length()));
                out.data.extend_from_slice(&data[from..to]);
            }
        }
        out
    }
}

impl RowPlace {
    /// That of a row which is not encoded yet.
    const MISSING: Self = Self(0);

    fn is_missing(self) -> bool {
        // The length of a key lies before it.
        self.at() == 0
    }

    /// Where the row begins: with the length of its key.
    fn start(self) -> usize {
        let mut length = Vec::new();
        put_u64(&mut length, self.length() as u64);
        self.at() - length.len()
    }
}

/// Sets of rising columns.
enum Sets {
    /// All of them get the server's timestamp.
    Given,
    /// None does; the first has this.
    Explicit(Micros),
}

impl Sets {
    /// The usual mutation, one set of each column in order.
    fn of(list: &[Mutation]) -> Option<Self> {
        let Mutation::Set { timestamp: first, .. } = list.first()? else { return None };
        let alike = |m: &Mutation| matches!(m, Mutation::Set { timestamp, .. } if timestamp.is_some() == first.is_some());
        if !list.iter().all(alike) || !list.windows(2).all(|w| column(&w[0]) < column(&w[1])) {
            return None;
        }
        Some(first.map_or(Self::Given, Self::Explicit))
    }

    /// Brings one set of each column into order; false if there is more or something else.
    fn sort(list: &mut [Mutation]) -> bool {
        if !list.iter().all(|m| matches!(m, Mutation::Set { .. })) {
            return false;
        }
        // Sets of one column stay in their order.
        list.sort_by(|a, b| column(a).cmp(&column(b)));
        Self::of(list).is_some()
    }
}

/// Whether what is left of the mutations is the same whatever timestamp the server gives: then whether sets get it.
fn independent(list: &[Mutation]) -> Option<bool> {
    let sets = || {
        list.iter().filter_map(|m| match m {
            Mutation::Set { timestamp, .. } => Some(*timestamp),
            Mutation::Combine { timestamp, .. } => Some(Some(*timestamp)),
            _ => None,
        })
    };
    if sets().all(|t| t.is_some()) {
        return Some(false);
    }
    let all_times = |m: &Mutation| !matches!(m, Mutation::DeleteColumn { timestamps, .. } if *timestamps != TimeRange::ALL);
    (sets().all(|t| t.is_none()) && list.iter().all(all_times)).then_some(true)
}

/// The column of a set.
fn column(m: &Mutation) -> Option<(FamilyId, &Bytes)> {
    match m {
        Mutation::Set { family, qualifier, .. } => Some((*family, qualifier)),
        _ => None,
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
