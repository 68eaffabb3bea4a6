//! A tablet's manifest in its register: who puts a version owns the tablet; who loses one has lost it.

use crate::format::{Manifest, names};
use common::ids::TabletId;
use common::register::Register;
use common::store::SharedStore;
use common::{Error, ErrorKind, Result};

/// Old versions are looked for after this many puts.
const TRIM_EVERY: u64 = 16;

/// The newest manifest as this owner knows it.
#[derive(Debug)]
pub(crate) struct ManifestStore {
    register: Register,
    number: u64,
    current: Manifest,
    /// A put of unknown outcome: the next number may hold it.
    unsettled: Option<Vec<u8>>,
}

impl ManifestStore {
    /// The newest manifest of a tablet; `None` if it never had one.
    pub(crate) async fn newest(store: SharedStore, tablet: TabletId) -> Result<Option<(u64, Manifest)>> {
        let newest = register(store, tablet).newest().await?;
        let decode = |v: common::register::Version| {
            let manifest = Manifest::decode(&v.content).map_err(|e| e.context(format!("manifest {} of tablet {tablet}", v.number)))?;
            Ok((v.number, manifest))
        };
        newest.map(decode).transpose()
    }

    /// Deletes all versions, upward: the tablet has ended, and its id is never used again.
    pub(crate) async fn remove(store: SharedStore, tablet: TabletId) -> Result<()> {
        register(store, tablet).trim(u64::MAX).await
    }

    /// All tablets that have a manifest or an SSTable.
    pub(crate) async fn tablets(store: &SharedStore) -> Result<Vec<TabletId>> {
        let folder = names::tablets_prefix();
        let listed = store.list_with_delimiter(Some(&folder)).await.map_err(|e| common::store::failed("list", &folder, &e))?;
        Ok(listed.common_prefixes.iter().filter_map(|p| p.filename()?.parse().ok().map(TabletId)).collect())
    }

    /// Takes over from version `number` (0: there is none) by putting `manifest`.
    ///
    /// # Errors
    /// `Fenced` if another has taken over, `Unavailable`.
    pub(crate) async fn take(store: SharedStore, number: u64, manifest: Manifest) -> Result<Self> {
        let register = register(store, manifest.tablet);
        let mut this = Self { register, number, current: manifest.clone(), unsettled: None };
        this.put(manifest).await?;
        Ok(this)
    }

    pub(crate) fn current(&self) -> &Manifest {
        &self.current
    }

    /// Replaces the manifest.
    ///
    /// # Errors
    /// `Fenced` if another owner has: this one must stop at once. `Unavailable`: the outcome is unknown; nothing
    /// that either version names may be deleted, and the next put settles it.
    pub(crate) async fn put(&mut self, next: Manifest) -> Result<()> {
        fail::fail_point!("manifest-put", |_| Err(Error::unavailable("failpoint: manifest-put")));
        let bytes = next.encode()?;
        loop {
            let number = self.number + 1;
            match self.register.put(number, next.epoch.0, &bytes).await {
                Ok(true) => break,
                Ok(false) if self.holds(number, &bytes).await? => break,
                Ok(false) => self.settle(number, &next).await?,
                Err(e) => {
                    if e.kind == ErrorKind::Unavailable {
                        self.unsettled = Some(bytes);
                    }
                    return Err(e);
                }
            }
        }
        fail::fail_point!("manifest-put-done");
        self.number += 1;
        self.current = next;
        self.unsettled = None;
        if self.number.is_multiple_of(TRIM_EVERY)
            && let Err(e) = self.register.trim(self.number).await
        {
            tracing::warn!(error = %e, tablet = %self.current.tablet, "old manifests stay for now");
        }
        Ok(())
    }

    /// Steps over an own version whose put seemed to fail.
    async fn settle(&mut self, number: u64, next: &Manifest) -> Result<()> {
        let own = match self.unsettled.take() {
            Some(bytes) => self.holds(number, &bytes).await?,
            None => false,
        };
        if !own {
            return Err(Error::fenced(format!(
                "tablet {}: another owner has put manifest {number}; epoch {} is over",
                next.tablet, next.epoch
            )));
        }
        self.number = number;
        Ok(())
    }

    /// Whether version `number` is these bytes, and follows its predecessor: else the number had been deleted, and the
    /// put that created it anew was lost.
    async fn holds(&self, number: u64, bytes: &[u8]) -> Result<bool> {
        let mine = self.register.read(number).await?.is_some_and(|v| v.content == bytes);
        Ok(mine && (number == 1 || self.register.read(number - 1).await?.is_some()))
    }
}

fn register(store: SharedStore, tablet: TabletId) -> Register {
    Register::new(store, names::manifest_prefix(tablet))
}
