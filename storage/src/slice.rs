//! Which slice a row, or each of its cells and deletes, belongs to: a pure function of the table's schema and the time.
//!
//! Where a key part holds the event time the slice is that of the key: no row lies in two. Else the cells of families
//! with a maximum age are cut by their timestamps, and all deletes and other cells lie in no slice.

use crate::event_time::{event_time, time_part};
use crate::format::{RowRef, Slice, SliceKey};
use crate::raw::{RawCell, RawRow};
use common::ids::FamilyId;
use common::schema::{GcRule, Table};
use common::time::Micros;
use std::sync::Arc;
use std::time::Duration;

/// Times are cut by hours until the day is this old: late rows then still fall into small SSTables.
const HOURS_FOR: Duration = Duration::from_secs(48 * 3600);

/// The age, in seconds, at which a rule condemns every cell, whatever other versions there are; `None`: it never does.
pub(crate) fn max_age(rule: &GcRule) -> Option<u64> {
    match rule {
        GcRule::KeepAll | GcRule::MaxVersions(_) => None,
        GcRule::MaxAgeSeconds(s) => Some(*s),
        GcRule::Union(rules) => rules.iter().filter_map(max_age).min(),
        GcRule::Intersection(rules) => rules.iter().map(max_age).collect::<Option<Vec<_>>>()?.into_iter().max(),
    }
}

/// The first day that is still cut by hours.
pub(crate) fn hours_from(now: Micros) -> Slice {
    Slice::day(now.before(HOURS_FOR))
}

/// A row by slices.
pub(crate) enum Parts {
    One(SliceKey, RawRow),
    Many(Vec<(SliceKey, RawRow)>),
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Slicer {
    table: Arc<Table>,
    /// Maximum age by family; 0: none.
    ages: Vec<(FamilyId, u64)>,
    /// The key part with the event time.
    time: Option<usize>,
    /// Earlier days have slices of their own, later ones are cut by hours.
    hours_from: Slice,
    /// Earlier times are cut by months.
    days_from: Micros,
}

impl Slicer {
    /// The slices of a table at `now`; times before `days_from` are cut by months.
    pub(crate) fn new(table: &Arc<Table>, now: Micros, days_from: Micros) -> Self {
        let ages = table.families.iter().map(|f| (f.id, max_age(&f.gc).unwrap_or(0))).collect();
        Self { table: table.clone(), ages, time: time_part(table), hours_from: hours_from(now), days_from }
    }

    /// Whether the slice is that of the row key.
    pub(crate) fn is_by_key(&self) -> bool {
        self.time.is_some()
    }

    /// The event time in a row key.
    pub(crate) fn event_time(&self, key: &[u8]) -> Option<Micros> {
        event_time(&self.table, self.time?, key)
    }

    /// The slice of a time, as wide as its age wants.
    pub(crate) fn slice(&self, t: Micros) -> Slice {
        match Slice::day(t) {
            _ if t < self.days_from => Slice::month(t),
            day if day < self.hours_from => day,
            _ => Slice::hour(t),
        }
    }

    fn age(&self, family: FamilyId) -> u64 {
        self.ages.iter().find(|(f, _)| *f == family).map_or(0, |(_, age)| *age)
    }

    /// Cuts a row with this event time.
    pub(crate) fn split(&self, row: RawRow, time: Option<Micros>) -> Parts {
        let slice = time.map(|t| self.slice(t));
        match self.one_age(&row).filter(|age| self.is_by_key() || *age == 0) {
            Some(max_age) => Parts::One(SliceKey { max_age, slice }, row),
            None => Parts::Many(self.parts(row, slice)),
        }
    }

    /// The one slice of a plain row with this event time; `None`: it may have several.
    pub(crate) fn of_plain(&self, row: &RowRef<'_>, time: Option<Micros>) -> Option<SliceKey> {
        let max_age = self.common_age().or_else(|| row.family().map(|family| self.age(family)))?;
        (self.is_by_key() || max_age == 0).then(|| SliceKey { max_age, slice: time.map(|t| self.slice(t)) })
    }

    /// The age of all families, if it is one.
    fn common_age(&self) -> Option<u64> {
        let [(_, first), rest @ ..] = self.ages.as_slice() else { return None };
        rest.iter().all(|(_, age)| age == first).then_some(*first)
    }

    /// The age that all parts of a row have.
    fn one_age(&self, row: &RawRow) -> Option<u64> {
        if let Some(age) = self.common_age() {
            return Some(age);
        }
        let age = if row.deletes.is_empty() { self.age(row.cells.first()?.family) } else { 0 };
        row.cells.iter().all(|c| self.age(c.family) == age).then_some(age)
    }

    fn parts(&self, row: RawRow, slice: Option<Slice>) -> Vec<(SliceKey, RawRow)> {
        let of_cell = |c: &RawCell| {
            let max_age = self.age(c.family);
            let slice = if !self.is_by_key() && max_age > 0 { Some(self.slice(c.timestamp)) } else { slice };
            SliceKey { max_age, slice }
        };
        let mut parts: Vec<(SliceKey, RawRow)> = Vec::new();
        let RawRow { key, cells, deletes, .. } = row;
        let place = |parts: &mut Vec<(SliceKey, RawRow)>, at: SliceKey| match parts.iter().position(|(k, _)| *k == at) {
            Some(i) => i,
            None => {
                parts.push((at, RawRow { key: key.clone(), ..RawRow::default() }));
                parts.len() - 1
            }
        };
        for cell in cells {
            let at = place(&mut parts, of_cell(&cell));
            parts[at].1.cells.push(cell);
        }
        if !deletes.is_empty() {
            // They may hide cells of any age, so they must outlive all of them.
            let at = place(&mut parts, SliceKey { max_age: 0, slice });
            parts[at].1.deletes = deletes;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Delete;
    use crate::raw::RawDelete;
    use bytes::Bytes;
    use common::ids::{Seq, TableId};
    use common::schema::{TableKind, TableSpec};
    use common::value::Value;

    const DAY: i64 = 86_400_000_000;
    const NOW: Micros = Micros(100 * DAY + DAY / 2);

    fn table(spec: serde_json::Value) -> Arc<Table> {
        let spec: TableSpec = serde_json::from_value(spec).unwrap();
        Arc::new(Table::create(TableId(1), TableKind::Raw, spec).unwrap())
    }

    fn by_age() -> Arc<Table> {
        table(serde_json::json!({"name": "t.cells", "undeclared": "none", "families":
            {"ten": {"gc": {"max_age_seconds": 10}}, "day": {"gc": {"max_age_seconds": 86400}}}}))
    }

    fn row(key: &[u8], cells: &[(u32, i64)], delete: bool) -> RawRow {
        let cell = |(f, t): &(u32, i64)| RawCell {
            family: FamilyId(*f),
            qualifier: Bytes::new(),
            timestamp: Micros(*t),
            seq: Seq(1),
            kind: crate::format::CellKind::default(),
            value: Bytes::new(),
        };
        let deletes = delete.then(|| RawDelete { what: Delete::Row, seq: Seq(2) });
        RawRow {
            key: Bytes::copy_from_slice(key),
            cells: cells.iter().map(cell).collect(),
            deletes: deletes.into_iter().collect(),
            ..RawRow::default()
        }
    }

    fn split(slicer: &Slicer, row: RawRow) -> Vec<(u64, Option<Slice>, usize, usize)> {
        let time = slicer.event_time(&row.key);
        let parts = match slicer.split(row, time) {
            Parts::One(key, row) => vec![(key, row)],
            Parts::Many(parts) => parts,
        };
        parts.iter().map(|(k, r)| (k.max_age, k.slice, r.cells.len(), r.deletes.len())).collect()
    }

    #[test]
    fn a_key_with_a_time_decides_by_its_age_how_wide_its_slice_is() {
        let t = table(serde_json::json!({"name": "t.events", "time_column": "at", "key": [{"user": "string"}, {"at": "timestamp desc"}]}));
        let slicer = Slicer::new(&t, NOW, Micros(20 * DAY));
        let at = |days: i64| {
            let key = t.key_schema().encode(&[Some(Value::String("ada".into())), Some(Value::Timestamp(Micros(days * DAY)))]).unwrap();
            split(&slicer, row(&key, &[(1, 0), (2, 5)], true))
        };
        assert_eq!(at(100), [(0, Some(Slice::Hour(2400)), 2, 1)]);
        assert_eq!(at(98), [(0, Some(Slice::Hour(98 * 24)), 2, 1)]);
        assert_eq!(at(97), [(0, Some(Slice::Day(97)), 2, 1)]);
        assert_eq!(at(19), [(0, Some(Slice::Month(0)), 2, 1)]);
        assert_eq!(split(&slicer, row(b"no key of it", &[(1, 0)], false)), [(0, None, 1, 0)]);
    }

    #[test]
    fn without_a_time_in_the_key_cells_with_a_maximum_age_are_cut_by_timestamp() {
        let t = by_age();
        let slicer = Slicer::new(&t, NOW, Micros::MIN);
        let (ten, day) = (t.family("ten").unwrap().id.0, t.family("day").unwrap().id.0);
        let data = t.family("data").unwrap().id.0;
        let cells = [(data, DAY), (day, 2 * DAY), (day, 2 * DAY + 1), (ten, 2 * DAY), (ten, 3 * DAY)];
        let expected =
            [(0, None, 1, 1), (86_400, Some(Slice::Day(2)), 2, 0), (10, Some(Slice::Day(2)), 1, 0), (10, Some(Slice::Day(3)), 1, 0)];
        assert_eq!(split(&slicer, row(b"k", &cells, true)), expected);
        assert_eq!(split(&slicer, row(b"k", &[(data, 5)], true)), [(0, None, 1, 1)]);
    }

    #[test]
    fn the_age_at_which_a_rule_condemns_all() {
        use GcRule::{Intersection, KeepAll, MaxAgeSeconds, MaxVersions, Union};
        assert_eq!(max_age(&Union(vec![MaxVersions(1), MaxAgeSeconds(5), MaxAgeSeconds(3)])), Some(3));
        assert_eq!(max_age(&Intersection(vec![MaxVersions(1), MaxAgeSeconds(5)])), None);
        assert_eq!(max_age(&Intersection(vec![MaxAgeSeconds(9), MaxAgeSeconds(5)])), Some(9));
        assert_eq!(max_age(&KeepAll), None);
    }
}
