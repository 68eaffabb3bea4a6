//! Who holds which SSTables. In a cluster the answers come from Raft; the engine is tested against a book in memory.

use crate::sync::lock;
use common::ids::{Epoch, TabletId};
use common::objects::{Referrer, SstableName};
use common::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

/// Object pins: a referrer's hold on SSTables whose home is another tablet. Every method may be repeated.
#[async_trait::async_trait]
pub trait ObjectPins: Send + Sync + fmt::Debug {
    /// Holds all SSTables of the home tablet for the referrer, those to come included, until [`Self::narrow`].
    ///
    /// # Errors
    /// `Unavailable`: it may have taken effect.
    async fn pin_home(&self, home: TabletId, referrer: &Referrer) -> Result<()>;

    /// The referrer's manifest names exactly these: it holds nothing else any more.
    ///
    /// # Errors
    /// `Unavailable`: it may have taken effect.
    async fn narrow(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()>;

    /// The referrer's manifest no longer names these, and none of its readers holds them.
    ///
    /// # Errors
    /// `Unavailable`: it may have taken effect.
    async fn release(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()>;

    /// Which of these SSTables of `home` nobody holds. Only its owner asks, and only for what its manifest no longer names.
    ///
    /// # Errors
    /// `Fenced` if `epoch` is not the home's newest: then somebody else decides. `Unavailable`.
    async fn deletable(&self, home: TabletId, epoch: Epoch, objects: &[SstableName]) -> Result<Vec<SstableName>>;
}

/// For a cluster without clones, splits and snapshots: nothing is ever pinned, and nothing can be.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingPinned;

#[async_trait::async_trait]
impl ObjectPins for NothingPinned {
    async fn pin_home(&self, home: TabletId, referrer: &Referrer) -> Result<()> {
        let text = format!("{referrer} cannot hold SSTables of tablet {home}: this engine was opened without object pins");
        Err(Error::refused(text))
    }

    async fn narrow(&self, _: &Referrer, _: &[SstableName]) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _: &Referrer, _: &[SstableName]) -> Result<()> {
        Ok(())
    }

    async fn deletable(&self, _: TabletId, _: Epoch, objects: &[SstableName]) -> Result<Vec<SstableName>> {
        Ok(objects.to_vec())
    }
}

/// Pins in memory: what the master keeps in Raft, for tests and tools of one process.
#[derive(Debug, Default)]
pub struct PinBook {
    /// Held for map operations only.
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    whole: BTreeSet<(TabletId, Referrer)>,
    objects: BTreeMap<SstableName, BTreeSet<Referrer>>,
    epochs: BTreeMap<TabletId, Epoch>,
}

impl PinBook {
    /// The newest epoch of a tablet: earlier owners are told so.
    pub fn set_epoch(&self, tablet: TabletId, epoch: Epoch) {
        let epochs = &mut lock(&self.book).epochs;
        let newest = epochs.entry(tablet).or_default();
        *newest = epoch.max(*newest);
    }

    /// Whether anybody holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let book = lock(&self.book);
        book.whole.is_empty() && book.objects.is_empty()
    }
}

impl Book {
    fn release(&mut self, referrer: &Referrer, gone: impl Fn(&SstableName) -> bool) {
        self.objects.retain(|name, holders| {
            if gone(name) {
                holders.remove(referrer);
            }
            !holders.is_empty()
        });
    }
}

#[async_trait::async_trait]
impl ObjectPins for PinBook {
    async fn pin_home(&self, home: TabletId, referrer: &Referrer) -> Result<()> {
        lock(&self.book).whole.insert((home, referrer.clone()));
        Ok(())
    }

    async fn narrow(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()> {
        let mut book = lock(&self.book);
        let own = |name: &SstableName| *referrer == Referrer::Tablet(name.home);
        for name in objects.iter().filter(|name| !own(name)) {
            book.objects.entry(*name).or_default().insert(referrer.clone());
        }
        book.release(referrer, |name| !objects.contains(name));
        book.whole.retain(|(_, holder)| holder != referrer);
        Ok(())
    }

    async fn release(&self, referrer: &Referrer, objects: &[SstableName]) -> Result<()> {
        lock(&self.book).release(referrer, |name| objects.contains(name));
        Ok(())
    }

    async fn deletable(&self, home: TabletId, epoch: Epoch, objects: &[SstableName]) -> Result<Vec<SstableName>> {
        let book = lock(&self.book);
        let newest = book.epochs.get(&home).copied().unwrap_or_default();
        if newest > epoch {
            return Err(Error::fenced(format!("tablet {home}: epoch {epoch} is over, {newest} has begun")));
        }
        if book.whole.iter().any(|(pinned, _)| *pinned == home) {
            return Ok(Vec::new());
        }
        Ok(objects.iter().filter(|name| name.home == home && !book.objects.contains_key(name)).copied().collect())
    }
}
