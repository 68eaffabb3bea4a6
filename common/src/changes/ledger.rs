use super::{Changes, Keyed, Part};
use std::collections::{BTreeMap, BTreeSet};

/// A list with the versions at which its items changed.
#[derive(Clone, Debug)]
pub struct Ledger<T: Keyed> {
    version: u64,
    /// What was removed up to here is forgotten: changes since an earlier version cannot be told.
    horizon: u64,
    items: BTreeMap<T::Key, Entry<T>>,
    /// All changes after the horizon, one a key.
    log: BTreeSet<(u64, T::Key)>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    changed: u64,
    /// `None`: removed, and remembered for those who have it still.
    item: Option<T>,
}

impl<T: Keyed + Clone + PartialEq> Ledger<T> {
    /// An empty list at a version.
    #[must_use]
    pub fn new(version: u64) -> Self {
        Self { version, horizon: version, items: BTreeMap::new(), log: BTreeSet::new() }
    }

    /// What is set and removed from now on belongs to this version; it never goes back. What was told of a version
    /// must not change afterwards: begin a new one first.
    pub fn begin(&mut self, version: u64) {
        self.version = version.max(self.version);
    }

    /// The version of the list.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether anything has changed after `version`.
    #[must_use]
    pub fn has_changed_since(&self, version: u64) -> bool {
        version < self.horizon || self.log.last().is_some_and(|(changed, _)| *changed > version)
    }

    /// The item of a key.
    #[must_use]
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        self.items.get(key)?.item.as_ref()
    }

    /// All items, by key.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values().filter_map(|e| e.item.as_ref())
    }

    /// Puts an item in its key's place; whether that changes anything.
    pub fn set(&mut self, item: T) -> bool {
        let key = item.key();
        if self.get(&key) == Some(&item) {
            return false;
        }
        self.change(key, Some(item));
        true
    }

    /// Takes an item out; whether it was there.
    pub fn remove(&mut self, key: &T::Key) -> bool {
        let there = self.get(key).is_some();
        if there {
            self.change(key.clone(), None);
        }
        there
    }

    /// Takes out whatever is not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&T::Key) -> bool) {
        let there = self.items.iter().filter(|(_, e)| e.item.is_some()).map(|(key, _)| key);
        let gone: Vec<_> = there.filter(|key| !keep(key)).cloned().collect();
        for key in &gone {
            self.remove(key);
        }
    }

    fn change(&mut self, key: T::Key, item: Option<T>) {
        let old = self.items.insert(key.clone(), Entry { changed: self.version, item });
        if let Some(old) = old {
            self.log.remove(&(old.changed, key.clone()));
        }
        self.log.insert((self.version, key));
    }

    /// What brings whoever has `base` to the present version; all of it if `base` is `None` or forgotten.
    #[must_use]
    pub fn since(&self, base: Option<u64>) -> Changes<T> {
        let Some(base) = base.filter(|base| (self.horizon..=self.version).contains(base)) else {
            return Changes::whole(self.version, self.iter().cloned().collect());
        };
        let mut part = Part::default();
        let newest_first = self.log.iter().rev().take_while(|(changed, _)| *changed > base);
        for (_, key) in newest_first {
            match self.get(key) {
                Some(item) => part.put.push(item.clone()),
                None => part.gone.push(key.clone()),
            }
        }
        Changes { base: Some(base), version: self.version, part }
    }

    /// The other side has this version: what changed up to there need not be told any more, but for the whole list.
    pub fn told(&mut self, version: u64) {
        let version = version.min(self.version);
        if version <= self.horizon {
            return;
        }
        self.horizon = version;
        while self.log.first().is_some_and(|(changed, _)| *changed <= version) {
            let Some((_, key)) = self.log.pop_first() else { return };
            if self.get(&key).is_none() {
                self.items.remove(&key);
            }
        }
    }
}
