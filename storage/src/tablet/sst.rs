//! An SSTable as a tablet holds it: buried once its manifest no longer names it and no reader holds it.

use crate::compaction::Output;
use crate::format::{SstableName, SstableRef};
use crate::sstable::{Fresh, Reader};
use common::ids::{Epoch, TabletId};
use common::key::KeyRange;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

use crate::shared::Shared;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Sst {
    reader: Reader,
    /// As it was opened; its level may have changed.
    pub(crate) entry: SstableRef,
    level: AtomicU32,
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
    /// Opens a live SSTable; reads nothing of it yet.
    pub(crate) fn open(shared: &Shared, entry: SstableRef) -> Arc<Self> {
        Self::open_fresh(shared, entry, None)
    }

    /// Opens a live SSTable with what its writer left, if it left something.
    pub(crate) fn open_fresh(shared: &Shared, entry: SstableRef, fresh: Option<&Fresh>) -> Arc<Self> {
        let context = shared.reader.clone();
        let reader = match fresh {
            Some(fresh) => Reader::fresh(context, entry.clone(), fresh),
            None => Reader::new(context, entry.clone()),
        };
        let level = AtomicU32::new(entry.level);
        Arc::new(Self { reader, entry, level, retired_by: OnceLock::new(), graveyard: shared.graveyard.clone() })
    }

    /// What the newest manifest says of it.
    pub(crate) fn current(&self) -> SstableRef {
        SstableRef { level: self.level(), ..self.entry.clone() }
    }

    pub(crate) fn level(&self) -> u32 {
        self.level.load(Ordering::Acquire)
    }

    /// A manifest has put it on another level.
    pub(crate) fn move_to(&self, level: u32) {
        self.level.store(level, Ordering::Release);
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

/// What the manifest says of a new SSTable.
pub(crate) fn reference(output: &Output, level: u32, range: &KeyRange) -> SstableRef {
    let (finished, p) = (&output.finished, &output.finished.properties);
    SstableRef {
        name: finished.name,
        level: if output.low { 0 } else { level },
        slice: output.slice,
        families: output.families.clone(),
        range: range.clone(),
        keys: p.keys.clone(),
        delete_keys: p.delete_keys.clone(),
        range_deletes: p.range_deletes.clone(),
        seqs: p.seqs,
        delete_seqs: p.delete_seqs,
        given: None,
        timestamps: p.timestamps,
        event_times: output.event_times,
        size: finished.size,
        rows: p.rows,
        puts: p.puts,
        deletes: p.deletes,
    }
}
