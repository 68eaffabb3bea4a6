//! An SSTable as a tablet holds it: buried once its manifest no longer names it and no reader holds it.

use crate::format::{SliceKey, SstableName, SstableRef};
use crate::sstable::{Finished, Reader};
use common::Result;
use common::ids::{Epoch, FamilyId, TabletId};
use common::key::KeyRange;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

use crate::shared::Shared;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Sst {
    reader: Reader,
    pub(crate) entry: SstableRef,
    retired_by: OnceLock<(TabletId, Epoch)>,
    graveyard: mpsc::UnboundedSender<Retired>,
}

/// An SSTable that a tablet's manifest no longer names and none of its readers holds. Of its own ones the tablet then
/// deletes those that nobody else holds; of others it gives up its hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retired {
    pub(crate) name: SstableName,
    /// Whose manifest named it.
    pub(crate) tablet: TabletId,
    /// The epoch of that tablet's owner.
    pub(crate) epoch: Epoch,
}

impl Sst {
    /// Opens a live SSTable.
    pub(crate) async fn open(shared: &Shared, entry: SstableRef) -> Result<Arc<Self>> {
        let reader = Reader::open(shared.reader.clone(), entry.name, entry.size, entry.range.clone()).await?;
        Ok(Arc::new(Self { reader, entry, retired_by: OnceLock::new(), graveyard: shared.graveyard.clone() }))
    }

    /// The tablet's manifest no longer names it: its last reader sends it to the graveyard.
    pub(crate) fn retire(&self, tablet: TabletId, epoch: Epoch) {
        let _ = self.retired_by.set((tablet, epoch));
    }
}

impl Deref for Sst {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Drop for Sst {
    fn drop(&mut self) {
        if let Some((tablet, epoch)) = self.retired_by.get().copied() {
            // Without a receiver the engine is gone; the object is then an orphan for the scrub.
            let _ = self.graveyard.send(Retired { name: self.entry.name, tablet, epoch });
        }
    }
}

/// What the manifest says of a new SSTable with cells of these families.
pub(crate) fn reference(finished: &Finished, level: u32, range: &KeyRange, families: Vec<FamilyId>) -> SstableRef {
    let p = &finished.properties;
    SstableRef {
        name: finished.name,
        level,
        slice: SliceKey::default(),
        families,
        range: range.clone(),
        keys: p.keys.clone(),
        delete_keys: p.delete_keys.clone(),
        range_deletes: None,
        seqs: p.seqs,
        delete_seqs: (p.deletes > 0).then_some(p.seqs),
        timestamps: p.timestamps,
        event_times: p.event_times,
        size: finished.size,
        rows: p.rows,
        puts: p.puts,
        deletes: p.deletes,
    }
}
