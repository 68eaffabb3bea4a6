//! Named snapshots: a tablet's manifest under a name of its own.

use super::{Procedures, Referrer, Source};
use crate::format::{Manifest, names};
use common::ids::TabletId;
use common::store::{failed, get_opt};
use common::{Error, Result};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

/// Longest name of a snapshot in bytes.
const MAX_NAME: usize = 128;

impl Procedures {
    /// Keeps what the tablet has flushed under a name, until it is dropped; the state at the manifest's `flushed` is its.
    /// Flush before, to have everything that is visible in it. The same snapshot made again is the one that is there.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is empty, above 128 bytes or not of letters, digits, `.`, `_` and `-`;
    /// `NotFound` if there is no such tablet, `FailedPrecondition` without object pins, `Unavailable`.
    pub async fn take_snapshot(&self, name: &str, tablet: TabletId) -> Result<Manifest> {
        check_name(name)?;
        let referrer = Referrer::Snapshot { name: name.to_owned(), tablet };
        let source = self.pinned(&referrer, &Source::Tablet(tablet)).await?;
        // What no run has published is no part of any state.
        let manifest = Manifest { staged: Vec::new(), ..source };
        let path = names::snapshot(name, tablet);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store.put_opts(&path, manifest.encode()?.into(), options).await;
        let kept = match put {
            Ok(_) => manifest,
            // An earlier attempt, or the same name: what is there counts.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                self.snapshot(name, tablet).await?
            }
            Err(e) => return Err(failed("create", &path, &e)),
        };
        self.narrow(&referrer, &kept).await?;
        Ok(kept)
    }

    /// The manifest of a named snapshot.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Unavailable`.
    pub async fn snapshot(&self, name: &str, tablet: TabletId) -> Result<Manifest> {
        let path = names::snapshot(name, tablet);
        let found = get_opt(&self.store, &path).await?;
        let bytes = found.ok_or_else(|| Error::not_found(format!("there is no snapshot '{name}' of tablet {tablet}")))?;
        Manifest::decode(&bytes).map_err(|e| e.context(format!("object '{path}'")))
    }

    /// Drops a named snapshot; what only it held may then be deleted. Dropped already: done.
    ///
    /// # Errors
    /// `Unavailable`: it can be repeated.
    pub async fn drop_snapshot(&self, name: &str, tablet: TabletId) -> Result<()> {
        let path = names::snapshot(name, tablet);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(failed("delete", &path, &e)),
        }
        self.pins.narrow(&Referrer::Snapshot { name: name.to_owned(), tablet }, &[]).await
    }
}

impl Procedures {
    /// Deletes the objects of a named snapshot of all tablets; whoever keeps the pins lets go of its holds after that.
    ///
    /// # Errors
    /// `Unavailable`: it can be repeated.
    pub async fn delete_snapshots(&self, name: &str) -> Result<()> {
        let folder = names::snapshots_prefix(name);
        let listed: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(|e| failed("list", &folder, &e))?;
        for object in listed {
            match self.store.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(failed("delete", &object.location, &e)),
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(fits) && name.contains(|c: char| c != '.') {
        return Ok(());
    }
    Err(Error::invalid(format!("'{name}' cannot name a snapshot: use 1 to {MAX_NAME} of A-Z, a-z, 0-9, '.', '_', '-', not only dots")))
}
