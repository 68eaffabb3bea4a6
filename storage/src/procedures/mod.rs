//! Snapshots, clones, splits and merges: new manifests over the same SSTables. No data is copied.
//!
//! The order that keeps shared data, the same for all of them:
//!
//! 1. pin the whole source, and every other tablet whose SSTables its manifest names, for the referrer;
//! 2. read the source's manifest again, until it names no tablet that was not pinned before it was read;
//! 3. put the referrer's manifest;
//! 4. narrow the pins to what that names.
//!
//! An owner takes an SSTable out of its manifest, waits for its readers, and asks before it deletes. So what a manifest
//! read after the pin names cannot go. Who dies on the way leaves pins, nothing else; every step can be repeated.

mod derive;
mod end;
mod pins;
mod snapshot;

pub use crate::sstable::RenamedEnd;
pub use common::objects::Referrer;
pub use derive::{NewTablet, Source};
pub use pins::{NothingPinned, ObjectPins, PinBook};

use crate::format::{Manifest, SstableName};
use crate::manifest::ManifestStore;
use common::ids::TabletId;
use common::store::SharedStore;
use common::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How often the homes of a source's SSTables may change while they are pinned.
const ATTEMPTS: usize = 8;

/// The procedures over one store.
#[derive(Clone, Debug)]
pub struct Procedures {
    store: SharedStore,
    pins: Arc<dyn ObjectPins>,
}

impl Procedures {
    /// Procedures that hold SSTables through `pins`.
    #[must_use]
    pub fn new(store: SharedStore, pins: Arc<dyn ObjectPins>) -> Self {
        Self { store, pins }
    }

    /// A tablet's newest manifest.
    ///
    /// # Errors
    /// `NotFound` if it has none, `Corrupt`, `Unavailable`.
    pub async fn manifest(&self, tablet: TabletId) -> Result<Manifest> {
        self.newest(tablet).await.map(|(_, manifest)| manifest)
    }

    async fn newest(&self, tablet: TabletId) -> Result<(u64, Manifest)> {
        let newest = ManifestStore::newest(self.store.clone(), tablet).await?;
        newest.ok_or_else(|| Error::not_found(format!("tablet {tablet} has no manifest")))
    }

    /// Steps 1 and 2: the source's manifest, all of whose SSTables are held for `referrer`.
    async fn pinned(&self, referrer: &Referrer, source: &Source) -> Result<Manifest> {
        let mut pinned = BTreeSet::new();
        if let Source::Tablet(tablet) = source {
            self.pins.pin_home(*tablet, referrer).await?;
            pinned.insert(*tablet);
        }
        for _ in 0..ATTEMPTS {
            let manifest = self.read(source).await?;
            let new: BTreeSet<_> = manifest.sstables.iter().map(|s| s.name.home).filter(|home| !pinned.contains(home)).collect();
            if new.is_empty() {
                return Ok(manifest);
            }
            for home in new {
                self.pins.pin_home(home, referrer).await?;
                pinned.insert(home);
            }
        }
        Err(Error::unavailable(format!("{source} takes in SSTables of other tablets faster than they can be held: try again")))
    }

    async fn read(&self, source: &Source) -> Result<Manifest> {
        match source {
            Source::Tablet(tablet) => self.manifest(*tablet).await,
            Source::Snapshot { name, tablet } => self.snapshot(name, *tablet).await,
        }
    }

    /// Step 4.
    async fn narrow(&self, referrer: &Referrer, manifest: &Manifest) -> Result<()> {
        self.pins.narrow(referrer, &names(manifest)).await
    }
}

/// All tablets that a store has a manifest or an SSTable of: one listing.
///
/// # Errors
/// `Unavailable`.
pub async fn tablets(store: &SharedStore) -> Result<Vec<TabletId>> {
    ManifestStore::tablets(store).await
}

/// A tablet's newest manifest; `None` if it has none.
///
/// # Errors
/// `Corrupt`, `Unavailable`.
pub async fn newest_manifest(store: &SharedStore, tablet: TabletId) -> Result<Option<Manifest>> {
    Ok(ManifestStore::newest(store.clone(), tablet).await?.map(|(_, manifest)| manifest))
}

/// The SSTables that a manifest names, each once.
#[must_use]
pub fn names_of(manifest: &Manifest) -> Vec<SstableName> {
    names(manifest)
}

/// The SSTables that a manifest names, each once.
pub(crate) fn names(manifest: &Manifest) -> Vec<SstableName> {
    let all: BTreeSet<_> = manifest.sstables.iter().map(|s| s.name).collect();
    all.into_iter().collect()
}
