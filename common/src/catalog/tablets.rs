use super::Tablet;
use crate::changes::Part;
use crate::ids::{TableId, TabletId};
use std::collections::{HashMap, HashSet};
use std::ops::{Deref, Range};

/// Tablets by table, then in key order; found by id, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tablets {
    sorted: Vec<Tablet>,
    of: HashMap<TableId, Range<usize>>,
    places: HashMap<TabletId, usize>,
}

impl Tablets {
    /// Those of a table, in key order.
    #[must_use]
    pub fn of(&self, table: TableId) -> &[Tablet] {
        self.of.get(&table).and_then(|places| self.sorted.get(places.clone())).unwrap_or_default()
    }

    /// The tablet of this id.
    #[must_use]
    pub fn get(&self, id: TabletId) -> Option<&Tablet> {
        self.sorted.get(*self.places.get(&id)?)
    }

    pub(super) fn after(&self, part: Part<Tablet>) -> Self {
        let replaced: HashSet<TabletId> = part.put.iter().map(|t| t.id).chain(part.gone).collect();
        let kept = self.sorted.iter().filter(|t| !replaced.contains(&t.id)).cloned();
        kept.chain(part.put).collect::<Vec<_>>().into()
    }
}

/// All of them.
impl Deref for Tablets {
    type Target = [Tablet];

    fn deref(&self) -> &[Tablet] {
        &self.sorted
    }
}

impl From<Vec<Tablet>> for Tablets {
    fn from(mut sorted: Vec<Tablet>) -> Self {
        sorted.sort_by(|a, b| (a.table, &a.range.start).cmp(&(b.table, &b.range.start)));
        let mut of: HashMap<_, Range<usize>> = HashMap::new();
        for (at, tablet) in sorted.iter().enumerate() {
            of.entry(tablet.table).or_insert(at..at).end = at + 1;
        }
        let places = sorted.iter().enumerate().map(|(at, t)| (t.id, at)).collect();
        Self { sorted, of, places }
    }
}
