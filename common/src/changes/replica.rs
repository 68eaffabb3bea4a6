use super::{Changes, Keyed};
use std::collections::BTreeMap;

/// A list as the side that follows has it.
#[derive(Clone, Debug)]
pub struct Replica<T: Keyed> {
    version: Option<u64>,
    items: BTreeMap<T::Key, T>,
}

/// The changes begin after what the replica has: something between was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

impl<T: Keyed> Default for Replica<T> {
    fn default() -> Self {
        Self { version: None, items: BTreeMap::new() }
    }
}

impl<T: Keyed> Replica<T> {
    /// The version it has; `None`: it has never had the list.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// The item of a key.
    #[must_use]
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        self.items.get(key)
    }

    /// All items, by key.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    /// Whether [`Self::take`] would take these.
    #[must_use]
    pub fn fits(&self, changes: &Changes<T>) -> bool {
        changes.base.is_none_or(|base| self.version.is_some_and(|has| base <= has))
    }

    /// Follows changes. Those that end before the version it has are passed over, whole lists excepted: they are taken as they are.
    ///
    /// # Errors
    /// [`Gap`], and nothing is changed.
    pub fn take(&mut self, changes: Changes<T>) -> Result<(), Gap> {
        self.take_seeing(changes, |_, _| {})
    }

    /// As [`Self::take`]; `see` is shown each item that was replaced and by what.
    ///
    /// # Errors
    /// As there.
    pub fn take_seeing(&mut self, changes: Changes<T>, mut see: impl FnMut(Option<&T>, Option<&T>)) -> Result<(), Gap> {
        if !self.fits(&changes) {
            return Err(Gap);
        }
        if changes.base.is_some() && self.version > Some(changes.version) {
            return Ok(());
        }
        if changes.base.is_none() {
            std::mem::take(&mut self.items).into_values().for_each(|old| see(Some(&old), None));
        }
        for key in changes.part.gone {
            if let Some(old) = self.items.remove(&key) {
                see(Some(&old), None);
            }
        }
        for item in changes.part.put {
            let key = item.key();
            see(self.items.get(&key), Some(&item));
            self.items.insert(key, item);
        }
        self.version = Some(changes.version);
        Ok(())
    }
}
