use crate::state::{ClusterState, Tablet, differences};
use common::ids::{Incarnation, ServerId, TableId, TabletId};
use std::collections::{BTreeMap, BTreeSet};

/// What the leader looks up again and again in the committed state, kept up in the time of what changes there.
#[derive(Debug, Default)]
pub struct Index {
    /// The state that it follows.
    at: ClusterState,
    /// Tablets without an owner.
    waiting: BTreeSet<TabletId>,
    /// Tablets that their owner has not opened yet.
    opening: BTreeSet<TabletId>,
    /// How many tablets each life owns.
    owned: BTreeMap<(ServerId, Incarnation), usize>,
    by_table: BTreeMap<TableId, BTreeSet<TabletId>>,
}

impl Index {
    /// Goes on to a state, whatever it followed before.
    pub(crate) fn follow(&mut self, state: &ClusterState) {
        if self.at.tablets.ptr_eq(&state.tablets) {
            return;
        }
        let old = std::mem::replace(&mut self.at, state.clone());
        for (id, now) in differences(&old.tablets, &state.tablets) {
            if let Some(was) = old.tablets.get(id) {
                self.remove(*id, was);
            }
            if let Some(now) = now {
                self.insert(*id, now);
            }
        }
    }

    fn remove(&mut self, id: TabletId, was: &Tablet) {
        self.waiting.remove(&id);
        self.opening.remove(&id);
        if let Some(owner) = was.owner
            && let Some(count) = self.owned.get_mut(&owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owned.remove(&owner);
            }
        }
        if let Some(of_table) = self.by_table.get_mut(&was.table) {
            of_table.remove(&id);
            if of_table.is_empty() {
                self.by_table.remove(&was.table);
            }
        }
    }

    fn insert(&mut self, id: TabletId, now: &Tablet) {
        match now.owner {
            None => drop(self.waiting.insert(id)),
            Some(owner) => *self.owned.entry(owner).or_default() += 1,
        }
        if now.owner.is_some() && !now.open {
            self.opening.insert(id);
        }
        self.by_table.entry(now.table).or_default().insert(id);
    }

    /// Tablets without an owner.
    pub fn waiting(&self) -> impl Iterator<Item = (TabletId, &Tablet)> {
        self.found(self.waiting.iter())
    }

    /// Tablets that their owner has not opened yet.
    pub(crate) fn opening(&self) -> impl Iterator<Item = (TabletId, &Tablet)> {
        self.found(self.opening.iter())
    }

    /// The tablets of a table.
    pub(crate) fn of_table(&self, table: TableId) -> impl Iterator<Item = (TabletId, &Tablet)> {
        self.found(self.by_table.get(&table).into_iter().flatten())
    }

    /// How many tablets each table has.
    pub(super) fn table_sizes(&self) -> impl Iterator<Item = (TableId, u64)> {
        self.by_table.iter().map(|(id, tablets)| (*id, tablets.len() as u64))
    }

    /// How many tablets a life owns.
    pub(crate) fn owned(&self, server: ServerId, incarnation: Incarnation) -> usize {
        self.owned.get(&(server, incarnation)).copied().unwrap_or(0)
    }

    fn found<'a>(&'a self, ids: impl Iterator<Item = &'a TabletId>) -> impl Iterator<Item = (TabletId, &'a Tablet)> {
        ids.filter_map(|id| Some((*id, self.at.tablets.get(id)?)))
    }
}
