//! An SSTable as a tablet holds it: deleted once no manifest names it and no reader holds it.

use crate::format::{SliceKey, SstableRef};
use crate::sstable::{Finished, Reader};
use common::Result;
use common::ids::FamilyId;
use common::key::KeyRange;
use object_store::path::Path;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

use crate::shared::Shared;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Sst {
    reader: Reader,
    pub(crate) entry: SstableRef,
    obsolete: AtomicBool,
    graveyard: mpsc::UnboundedSender<Path>,
}

impl Sst {
    /// Opens a live SSTable.
    pub(crate) async fn open(shared: &Shared, entry: SstableRef) -> Result<Arc<Self>> {
        let reader = Reader::open(shared.reader.clone(), entry.name, entry.size, entry.range.clone()).await?;
        Ok(Arc::new(Self { reader, entry, obsolete: AtomicBool::new(false), graveyard: shared.graveyard.clone() }))
    }

    /// The manifest no longer names it, and its home is this tablet: its last reader deletes it.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, Ordering::Release);
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
        if self.obsolete.load(Ordering::Acquire) {
            // Without a receiver the engine is gone; the object is then an orphan for the scrub.
            let _ = self.graveyard.send(self.reader.path().clone());
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
