//! Deleting SSTables that no manifest names and no reader holds: only those of the own tablets, and only once nobody
//! else holds them.

use crate::format::{SstableName, names};
use crate::procedures::{ObjectPins, Referrer};
use crate::tablet::Retired;
use common::ids::{Epoch, TabletId};
use common::store::SharedStore;
use common::{Error, ErrorKind, Result};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Time between two questions about what others hold.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Deletions at once.
const PARALLEL: usize = 4;

/// What one owner of a tablet has given up.
type Dead = BTreeMap<(TabletId, Epoch), Vec<SstableName>>;

/// Runs until the engine goes. What is held by others is asked about again; after the engine's end the scrub finds it.
pub(super) async fn bury(store: SharedStore, pins: Arc<dyn ObjectPins>, mut retired: mpsc::UnboundedReceiver<Retired>) {
    let mut dead = Dead::new();
    loop {
        let next = if dead.is_empty() {
            retired.recv().await
        } else {
            match tokio::time::timeout(ASK_AGAIN, retired.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    bury_all(&store, pins.as_ref(), &mut dead).await;
                    continue;
                }
            }
        };
        let Some(first) = next else { return };
        let mut add = |Retired { name, tablet, epoch }| dead.entry((tablet, epoch)).or_default().push(name);
        add(first);
        while let Ok(more) = retired.try_recv() {
            add(more);
        }
        bury_all(&store, pins.as_ref(), &mut dead).await;
    }
}

async fn bury_all(store: &SharedStore, pins: &dyn ObjectPins, dead: &mut Dead) {
    for ((tablet, epoch), objects) in std::mem::take(dead) {
        let left = match give_up(store, pins, (tablet, epoch), &objects).await {
            Ok(left) => left,
            // The next owner, or the tablet's end, decides.
            Err(e) if e.kind == ErrorKind::Fenced => continue,
            Err(e) => {
                tracing::warn!(tablet = %tablet, error = %e, "sstables that the tablet no longer names stay for now");
                objects
            }
        };
        if !left.is_empty() {
            dead.insert((tablet, epoch), left);
        }
    }
}

/// Releases what belongs to others, deletes what is free; returns what is not.
async fn give_up(
    store: &SharedStore,
    pins: &dyn ObjectPins,
    (tablet, epoch): (TabletId, Epoch),
    objects: &[SstableName],
) -> Result<Vec<SstableName>> {
    let (own, others): (Vec<_>, Vec<_>) = objects.iter().partition(|name| name.home == tablet);
    if !others.is_empty() {
        pins.release(&Referrer::Tablet(tablet), &others).await?;
    }
    if own.is_empty() {
        return Ok(own);
    }
    let free = pins.deletable(tablet, epoch, &own).await?;
    let mut left: Vec<_> = own.into_iter().filter(|name| !free.contains(name)).collect();
    let deleting = futures::stream::iter(free).map(|name| async move { delete(store, &name).await.err().map(|e| (name, e)) });
    let failed: Vec<_> = deleting.buffer_unordered(PARALLEL).filter_map(std::future::ready).collect().await;
    for (name, e) in failed {
        tracing::warn!(error = %e, "an sstable that nobody names is not deleted; it is tried again");
        left.push(name);
    }
    Ok(left)
}

async fn delete(store: &SharedStore, name: &SstableName) -> Result<(), Error> {
    let path = names::sstable(name);
    match store.delete(&path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(common::store::failed("delete", &path, &e)),
    }
}
