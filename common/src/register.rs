//! The versioned register: all mutable state in the object store goes through it.
//!
//! Version *n* is the object `{prefix}/{n:020}`, put with create-if-absent; the highest number is the
//! current one. Who creates *n* has replaced *n* − 1, everybody else has lost. Create-if-absent is
//! the only condition used, the one that all sound stores share.
//!
//! A put whose outcome is unknown (it timed out but may have taken effect) is resolved by the nonce
//! in each version: it is repeated under the same name and nonce, and "exists already" is then settled
//! by reading who is there.
//!
//! Old versions are deleted strictly upward and never the newest [`KEEP`]. After creating *n* a writer
//! reads *n* − 1: if that is missing, *n* was a deleted number and the put counts as lost.

use crate::store::{Persistence, SharedStore, failed, get_opt};
use crate::{Error, Result, envelope};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Newest versions that are never deleted.
pub const KEEP: u64 = 16;
/// How often a put of unknown outcome is made before the caller is told so: those without answer take half a minute.
const ATTEMPTS: u32 = 5;
/// A put without answer is joined by another one after this long: less than a lease, so that what hangs is made again while
/// its result still counts. Who is late has lost to whoever took the number, or has not: leases play no part in that.
const ATTEMPT: Duration = Duration::from_secs(1);
/// After a put that has failed at once; those after it wait ever longer.
const PAUSE: Duration = Duration::from_millis(100);
/// With more bytes later, by what they take on a slow line.
const SLOWEST_BYTES_PER_SECOND: u64 = 8 << 20;
const MAGIC: envelope::Magic = *b"STRG";
const FORMAT: u16 = 1;

/// One version as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1.
    pub number: u64,
    /// The owner number its writer had; never falls from one version to the next.
    pub epoch: u64,
    /// Its content.
    pub content: Bytes,
}

/// How a put ended.
enum Outcome {
    Won,
    Lost,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    epoch: u64,
    nonce: u128,
    content: Vec<u8>,
}

/// A register under one prefix of the store. Cheap to clone; holds no state of its own.
#[derive(Clone, Debug)]
pub struct Register {
    store: SharedStore,
    prefix: Path,
    /// See [`ATTEMPT`].
    attempt: Duration,
}

impl Register {
    /// The register under `prefix`.
    #[must_use]
    pub fn new(store: SharedStore, prefix: Path) -> Self {
        Self { store, prefix, attempt: ATTEMPT }
    }

    /// The object of version `number`.
    #[must_use]
    pub fn path(&self, number: u64) -> Path {
        self.prefix.clone().join(format!("{number:020}"))
    }

    /// The newest version; `None` if there was never one. Lists, so it is for opening only.
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt` naming the object.
    pub async fn newest(&self) -> Result<Option<Version>> {
        // Between listing and reading, an owner may have moved on and deleted; then list again.
        for _ in 0..ATTEMPTS {
            let Some(number) = self.numbers().await?.into_iter().max() else {
                return Ok(None);
            };
            if let Some(version) = self.read(number).await? {
                return Ok(Some(version));
            }
        }
        Err(Error::unavailable(format!("register '{}' changes faster than it can be read", self.prefix)))
    }

    /// The owner number and the content of a version's stored bytes.
    ///
    /// # Errors
    /// `Corrupt`, naming what does not fit.
    pub fn decode(bytes: &[u8]) -> Result<(u64, Bytes)> {
        let stored: Stored = envelope::decode(MAGIC, FORMAT, bytes)?;
        Ok((stored.epoch, stored.content.into()))
    }

    /// Version `number`, `None` if it does not exist (any more).
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt` naming the object.
    pub async fn read(&self, number: u64) -> Result<Option<Version>> {
        Ok(self.read_stored(number).await?.map(|s| Version { number, epoch: s.epoch, content: s.content.into() }))
    }

    /// Puts version `number`, which must be one more than the version the caller replaces. `Ok(false)`: lost,
    /// someone else has created it, or it is a number already deleted.
    ///
    /// # Errors
    /// `Unavailable` if the outcome stays unknown: the caller must open the register anew.
    pub async fn put(&self, number: u64, epoch: u64, content: &[u8]) -> Result<bool> {
        let nonce = rand::random::<u128>();
        let bytes = Bytes::from(envelope::encode(MAGIC, FORMAT, &Stored { epoch, nonce, content: content.to_vec() })?);
        let patience = self.attempt + Duration::from_millis(bytes.len() as u64 * 1000 / SLOWEST_BYTES_PER_SECOND);
        let what = || format!("create object '{}'", self.path(number));
        let put =
            Persistence { patience, pause: PAUSE, attempts: ATTEMPTS }.run(what, || self.put_once(number, nonce, bytes.clone())).await?;
        match put {
            Outcome::Won => self.follows_its_predecessor(number).await,
            Outcome::Lost => Ok(false),
        }
    }

    /// # Errors
    /// `Unavailable`: the outcome is unknown; `Corrupt` if what is there instead does not decode.
    async fn put_once(&self, number: u64, nonce: u128, bytes: Bytes) -> Result<Outcome> {
        let path = self.path(number);
        let opts = PutOptions { mode: PutMode::Create, ..Default::default() };
        match self.store.put_opts(&path, bytes.into(), opts).await {
            Ok(_) => Ok(Outcome::Won),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                match self.read_stored(number).await? {
                    Some(there) if there.nonce == nonce => Ok(Outcome::Won),
                    Some(_) => Ok(Outcome::Lost),
                    // S3 answers "conflict" to one of two puts at the same time, even if neither of them has won. A number
                    // that was deleted meanwhile ends at its missing predecessor.
                    None => Err(Error::unavailable(format!("object '{path}' exists and does not"))),
                }
            }
            Err(e) => Err(Error::unavailable(failed("create", &path, &e).message)),
        }
    }

    /// Deletes versions below `newest` − [`KEEP`], upward, each confirmed before the next.
    ///
    /// # Errors
    /// `Unavailable`; what is left is deleted by a later call.
    pub async fn trim(&self, newest: u64) -> Result<()> {
        let mut old: Vec<_> = self.numbers().await?.into_iter().filter(|n| n + KEEP < newest).collect();
        old.sort_unstable();
        for number in old {
            let path = self.path(number);
            self.store.delete(&path).await.map_err(|e| failed("delete", &path, &e))?;
        }
        Ok(())
    }

    async fn follows_its_predecessor(&self, number: u64) -> Result<bool> {
        if number <= 1 {
            return Ok(true);
        }
        let before = self.path(number - 1);
        match self.store.head(&before).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(failed("look up", &before, &e)),
        }
    }

    async fn read_stored(&self, number: u64) -> Result<Option<Stored>> {
        let path = self.path(number);
        let Some(bytes) = get_opt(&self.store, &path).await? else { return Ok(None) };
        envelope::decode(MAGIC, FORMAT, &bytes).map(Some).map_err(|e| e.context(format!("object '{path}'")))
    }

    async fn numbers(&self) -> Result<Vec<u64>> {
        let listed: Vec<_> = self.store.list(Some(&self.prefix)).try_collect().await.map_err(|e| failed("list", &self.prefix, &e))?;
        Ok(listed.iter().filter_map(|o| o.location.filename()?.parse().ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::store::{DurableLocal, Faults, FaultyStore};
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn register(dir: &tempfile::TempDir) -> Register {
        Register::new(Arc::new(DurableLocal::open(dir.path()).unwrap()), Path::from("r"))
    }

    #[tokio::test]
    async fn one_of_two_writers_wins_each_version() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (register(&dir), register(&dir));
        assert_eq!(a.newest().await.unwrap(), None);
        assert!(a.put(1, 1, b"a").await.unwrap());
        assert!(!b.put(1, 2, b"b").await.unwrap());
        assert!(b.put(2, 2, b"b").await.unwrap());
        let newest = a.newest().await.unwrap().unwrap();
        assert_eq!((newest.number, newest.epoch, newest.content.as_ref()), (2, 2, b"b".as_slice()));
    }

    #[tokio::test]
    async fn what_a_store_does_on_a_bad_day_is_neither_won_nor_lost() {
        let faults = Faults { conflict: 0.2, ..Faults::unreliable(0.1, Duration::ZERO) };
        for seed in 0..20 {
            let store = FaultyStore::new(Arc::new(InMemory::new()), faults, seed);
            let r = Register::new(store.clone(), Path::from("r"));
            let mine = r.put(1, 1, b"mine").await;
            store.enable(false);
            let there = r.newest().await.unwrap();
            match mine {
                Ok(won) => assert!(won && there.is_some(), "seed {seed}: nobody else has put it"),
                Err(e) => assert_eq!(e.kind, ErrorKind::Unavailable, "seed {seed}: {e}"),
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_takes_longer_than_an_attempt_each_time_is_written() {
        let attempt = Duration::from_millis(5);
        let slow = Faults { slow: 1.0, delay: 10 * attempt, ..Faults::default() };
        let store = FaultyStore::new(Arc::new(InMemory::new()), slow, 1);
        let r = Register { attempt, ..Register::new(store, Path::from("r")) };
        assert!(r.put(1, 1, b"first").await.unwrap());
        assert!(r.put(2, 1, b"second").await.unwrap());
        assert!(!r.put(2, 1, b"late").await.unwrap());
        assert_eq!(r.newest().await.unwrap().unwrap().content.as_ref(), b"second");
    }

    #[tokio::test]
    async fn a_deleted_number_cannot_be_won_again() {
        let dir = tempfile::tempdir().unwrap();
        let r = register(&dir);
        for n in 1..=40 {
            assert!(r.put(n, 1, b"x").await.unwrap());
        }
        r.trim(40).await.unwrap();
        assert_eq!(r.read(23).await.unwrap(), None);
        assert!(r.read(24).await.unwrap().is_some());
        assert!(!r.put(20, 1, b"late").await.unwrap(), "20 was trimmed: its predecessor is gone");
    }
}
