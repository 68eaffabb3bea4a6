//! The end of a tablet, and looking for objects that nobody names.

use super::{Procedures, Referrer};
use crate::format::{Manifest, NO_SEGMENT, SstableName, names};
use crate::manifest::ManifestStore;
use common::ids::{Epoch, TabletId};
use common::store::failed;
use common::{Error, Result};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use std::collections::BTreeSet;

/// SSTables that the master is asked about at once.
const BATCH: usize = 256;

impl Procedures {
    /// Ends a tablet that has been dropped, split or merged: its manifest names nothing any more, and what nobody else
    /// holds of its SSTables is deleted. Returns how many are still held; call it again until there are none. The tablet
    /// must have been closed, and `epoch` be higher than its last owner's.
    ///
    /// # Errors
    /// `Fenced` if it has a newer owner, `Unavailable`: it can be repeated.
    pub async fn end_tablet(&self, tablet: TabletId, epoch: Epoch) -> Result<usize> {
        let Some((number, found)) = ManifestStore::newest(self.store.clone(), tablet).await? else {
            // It was never born, but SSTables may have been copied for it.
            self.pins.narrow(&Referrer::Tablet(tablet), &[]).await?;
            let there = self.objects(tablet).await?;
            return self.delete_unheld(tablet, epoch, there).await;
        };
        if found.epoch > epoch {
            return Err(Error::fenced(format!("tablet {tablet}: epoch {epoch} is not above {}", found.epoch)));
        }
        if !found.sstables.is_empty() || found.epoch < epoch {
            let empty = Manifest { epoch, sstables: Vec::new(), staged: Vec::new(), ..found };
            ManifestStore::take(self.store.clone(), number, empty).await?;
        }
        self.pins.narrow(&Referrer::Tablet(tablet), &[]).await?;
        let there = self.objects(tablet).await?;
        let held = self.delete_unheld(tablet, epoch, there).await?;
        if held == 0 {
            ManifestStore::remove(self.store.clone(), tablet).await?;
        }
        Ok(held)
    }

    /// Deletes SSTables of a tablet that its manifest does not name, nobody holds, and no living owner can still be
    /// writing or recover: those of epochs below the manifest's, and below that of a log that is not recovered. Returns how many were deleted.
    ///
    /// # Errors
    /// `Corrupt`, `Unavailable`.
    pub async fn scrub(&self, tablet: TabletId) -> Result<usize> {
        // The list first: what appears in a manifest later was not an orphan.
        let there = self.objects(tablet).await?;
        let manifest = self.manifest(tablet).await?;
        let named: BTreeSet<_> = manifest.sstables.iter().map(|s| s.name).collect();
        // Until recovery is done the log of an earlier epoch may name what it ingested.
        let recovered = if manifest.log_from == NO_SEGMENT { manifest.epoch } else { manifest.log_epoch.min(manifest.epoch) };
        let orphans: Vec<_> = there.into_iter().filter(|name| name.epoch < recovered && !named.contains(name)).collect();
        let all = orphans.len();
        Ok(all - self.delete_unheld(tablet, manifest.epoch, orphans).await?)
    }

    /// The SSTables in a tablet's folder.
    async fn objects(&self, tablet: TabletId) -> Result<Vec<SstableName>> {
        let folder = names::sstables_prefix(tablet);
        let listed: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(|e| failed("list", &folder, &e))?;
        Ok(listed.iter().filter_map(|o| names::parse_sstable(tablet, o.location.filename()?)).collect())
    }

    /// Deletes those that nobody holds; how many are held.
    async fn delete_unheld(&self, home: TabletId, epoch: Epoch, objects: Vec<SstableName>) -> Result<usize> {
        let mut held = 0;
        for batch in objects.chunks(BATCH) {
            let free = self.pins.deletable(home, epoch, batch).await?;
            held += batch.len() - free.len();
            for name in free {
                let path = names::sstable(&name);
                match self.store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(e) => return Err(failed("delete", &path, &e)),
                }
            }
        }
        Ok(held)
    }
}
