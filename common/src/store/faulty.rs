//! A store with faults: a decorator for tests that injects what object stores really do to their clients.
//!
//! Each request draws from a seeded generator, so a run is repeated by its seed as far as its requests come in the
//! same order. Faults can be switched off at any time: what was promised before must then be found.

use crate::store::SharedStore;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Listings that a stale one may come from.
const OLD_LISTINGS: usize = 4;

/// How likely each fault is, from 0 to 1, for each request that it can befall.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// An error before the request has any effect.
    pub before: f64,
    /// An error after a put or delete has taken effect: its sender cannot know.
    pub after: f64,
    /// No answer for [`Self::delay`], then an error; half of the writes have taken effect.
    pub timeout: f64,
    /// An answer only after [`Self::delay`].
    pub slow: f64,
    /// A create-if-absent that is refused though nothing is there, as S3 does to one of two that come at once.
    pub conflict: f64,
    /// A read that gives fewer bytes than were asked for, without an error.
    pub short_read: f64,
    /// A read with one bit wrong.
    pub flipped_bit: f64,
    /// A listing as it was some time ago: new objects are missing, deleted ones still there.
    pub stale_list: f64,
    /// How long timeouts and slow answers take.
    pub delay: Duration,
}

impl Faults {
    /// Errors, timeouts and slowness: what a sound store does on a bad day.
    #[must_use]
    pub fn unreliable(chance: f64, delay: Duration) -> Self {
        Self { before: chance, after: chance, timeout: chance / 2.0, slow: chance, delay, ..Self::default() }
    }

    /// Wrong answers to reads: what checksums are for.
    #[must_use]
    pub fn damaging(chance: f64) -> Self {
        Self { short_read: chance, flipped_bit: chance, ..Self::default() }
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct FaultyStore {
    inner: SharedStore,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    faults: Mutex<Faults>,
    /// Locked for single draws.
    random: Mutex<StdRng>,
    enabled: AtomicBool,
    injected: AtomicU64,
    /// Whole listings of the store, oldest first.
    listings: Mutex<VecDeque<Vec<ObjectMeta>>>,
}

/// What befalls one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    FailsBefore,
    FailsAfter,
}

impl State {
    fn faults(&self) -> Faults {
        if self.enabled.load(Ordering::Acquire) { *lock(&self.faults) } else { Faults::default() }
    }

    fn happens(&self, chance: f64) -> bool {
        let happens = chance > 0.0 && lock(&self.random).random_bool(chance.min(1.0));
        if happens {
            self.injected.fetch_add(1, Ordering::Relaxed);
        }
        happens
    }

    fn pick(&self, below: usize) -> usize {
        lock(&self.random).random_range(0..below.max(1))
    }

    /// Draws a request's fate, and waits if it is slow.
    async fn fate(&self) -> Fate {
        let faults = self.faults();
        if self.happens(faults.slow) {
            tokio::time::sleep(faults.delay).await;
        }
        if self.happens(faults.timeout) {
            tokio::time::sleep(faults.delay).await;
            return if self.pick(2) == 0 { Fate::FailsBefore } else { Fate::FailsAfter };
        }
        if self.happens(faults.before) {
            return Fate::FailsBefore;
        }
        if self.happens(faults.after) { Fate::FailsAfter } else { Fate::Fine }
    }

    /// What a read of these bytes gives.
    fn damage(&self, bytes: Bytes) -> Bytes {
        let faults = self.faults();
        if bytes.is_empty() {
            return bytes;
        }
        if self.happens(faults.short_read) {
            return bytes.slice(..self.pick(bytes.len()));
        }
        if self.happens(faults.flipped_bit) {
            let mut damaged = bytes.to_vec();
            let bit = self.pick(damaged.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            return damaged.into();
        }
        bytes
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn injected(what: &str, location: &Path) -> Error {
    Error::Generic { store: "FaultyStore", source: format!("injected fault: {what} '{location}'").into() }
}

impl FaultyStore {
    /// `inner` with these faults, drawn from `seed`.
    #[must_use]
    pub fn new(inner: SharedStore, faults: Faults, seed: u64) -> Arc<Self> {
        let state = State {
            faults: Mutex::new(faults),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            enabled: AtomicBool::new(true),
            injected: AtomicU64::new(0),
            listings: Mutex::default(),
        };
        Arc::new(Self { inner, state: Arc::new(state) })
    }

    /// Other faults from now on.
    pub fn set(&self, faults: Faults) {
        *lock(&self.state.faults) = faults;
    }

    /// Switches all faults on or off.
    pub fn enable(&self, enabled: bool) {
        self.state.enabled.store(enabled, Ordering::Release);
    }

    /// Faults injected so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.state.injected.load(Ordering::Relaxed)
    }

    async fn mutate<T>(&self, location: &Path, request: impl Future<Output = Result<T>>) -> Result<T> {
        match self.state.fate().await {
            Fate::FailsBefore => Err(injected("no effect on", location)),
            Fate::FailsAfter => {
                let _ = request.await;
                Err(injected("unknown outcome for", location))
            }
            Fate::Fine => request.await,
        }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with faults", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode == PutMode::Create && self.state.happens(self.state.faults().conflict) {
            return Err(Error::AlreadyExists { path: location.to_string(), source: "injected fault: 409 conflict".into() });
        }
        self.mutate(location, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.mutate(location, self.inner.put_multipart_opts(location, opts)).await?;
        Ok(Box::new(FaultyUpload { upload, location: location.clone(), state: self.state.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.state.fate().await != Fate::Fine {
            return Err(injected("cannot read", location));
        }
        let head = options.head;
        let got = self.inner.get_opts(location, options).await?;
        if head {
            return Ok(got);
        }
        let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let bytes = self.state.damage(got.bytes().await?);
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, state) = (self.inner.clone(), self.state.clone());
        let deletes = locations.then(move |location| {
            let (inner, state) = (inner.clone(), state.clone());
            async move {
                let location = location?;
                let fate = state.fate().await;
                if fate == Fate::FailsBefore {
                    return Err(injected("no effect on", &location));
                }
                let one = stream::once(std::future::ready(Ok(location.clone()))).boxed();
                let deleted = inner.delete_stream(one).try_collect::<Vec<_>>().await;
                if fate == Fate::FailsAfter {
                    return Err(injected("unknown outcome for", &location));
                }
                deleted.map(|_| location)
            }
        });
        deletes.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, state, prefix) = (self.inner.clone(), self.state.clone(), prefix.cloned());
        let listed = async move {
            if state.fate().await != Fate::Fine {
                return stream::once(std::future::ready(Err(injected("cannot list", &prefix.unwrap_or_default())))).boxed();
            }
            match listing(inner.as_ref(), &state).await {
                Ok(all) => stream::iter(all.into_iter().filter(move |o| below(prefix.as_ref(), &o.location)).map(Ok)).boxed(),
                Err(e) => stream::once(std::future::ready(Err(e))).boxed(),
            }
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if self.state.fate().await != Fate::Fine {
            return Err(injected("cannot list", prefix.unwrap_or(&Path::default())));
        }
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.mutate(to, self.inner.copy_opts(from, to, options)).await
    }
}

/// The store's objects now, or as they were some time ago.
async fn listing(store: &dyn ObjectStore, state: &State) -> Result<Vec<ObjectMeta>> {
    let now: Vec<_> = store.list(None).try_collect().await?;
    let stale = state.happens(state.faults().stale_list);
    let mut listings = lock(&state.listings);
    listings.push_back(now.clone());
    if listings.len() > OLD_LISTINGS {
        listings.pop_front();
    }
    Ok(if stale { listings.front().cloned().unwrap_or(now) } else { now })
}

fn below(prefix: Option<&Path>, location: &Path) -> bool {
    prefix.is_none_or(|p| location.prefix_match(p).is_some_and(|mut rest| rest.next().is_some()))
}

#[derive(Debug)]
struct FaultyUpload {
    upload: Box<dyn MultipartUpload>,
    location: Path,
    state: Arc<State>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (state, location) = (self.state.clone(), self.location.clone());
        let part = self.upload.put_part(data);
        Box::pin(async move {
            // A part without effect makes the upload incomplete, so it is not asked for and then reported as sent.
            match state.fate().await {
                Fate::Fine => part.await,
                _ => Err(injected("unknown outcome for a part of", &location)),
            }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.state.fate().await {
            Fate::Fine => self.upload.complete().await,
            Fate::FailsBefore => Err(injected("no effect on", &self.location)),
            Fate::FailsAfter => {
                let _ = self.upload.complete().await;
                Err(injected("unknown outcome for", &self.location))
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    fn faulty(faults: Faults) -> (SharedStore, Arc<FaultyStore>) {
        let inner: SharedStore = Arc::new(InMemory::new());
        (inner.clone(), FaultyStore::new(inner, faults, 7))
    }

    #[tokio::test]
    async fn an_error_before_has_no_effect_and_one_after_has() {
        let at = Path::from("a/b");
        for (faults, there) in [(Faults { before: 1.0, ..Faults::default() }, false), (Faults { after: 1.0, ..Faults::default() }, true)] {
            let (inner, store) = faulty(faults);
            assert!(store.put(&at, "x".into()).await.is_err());
            assert_eq!(inner.head(&at).await.is_ok(), there);
            store.enable(false);
            store.put(&at, "y".into()).await.unwrap();
            store.enable(true);
            assert!(store.delete(&at).await.is_err());
            assert_eq!(inner.head(&at).await.is_ok(), !there);
            assert_eq!(store.injected(), 2);
        }
    }

    #[tokio::test]
    async fn reads_are_cut_or_damaged_and_the_object_is_not() {
        let at = Path::from("a");
        let (inner, store) = faulty(Faults { flipped_bit: 1.0, ..Faults::default() });
        inner.put(&at, "0123456789".into()).await.unwrap();
        let flipped = store.get_range(&at, 2..6).await.unwrap();
        assert!(flipped.len() == 4 && flipped.as_ref() != b"2345");
        store.set(Faults { short_read: 1.0, ..Faults::default() });
        assert!(store.get(&at).await.unwrap().bytes().await.unwrap().len() < 10);
        assert_eq!(inner.get(&at).await.unwrap().bytes().await.unwrap().as_ref(), b"0123456789");
    }

    #[tokio::test]
    async fn a_stale_listing_lacks_what_is_new() {
        let (inner, store) = faulty(Faults::default());
        inner.put(&Path::from("a/1"), "x".into()).await.unwrap();
        let names =
            async || -> Vec<String> { store.list(Some(&Path::from("a"))).map_ok(|o| o.location.to_string()).try_collect().await.unwrap() };
        assert_eq!(names().await, ["a/1"]);
        inner.put(&Path::from("a/2"), "x".into()).await.unwrap();
        inner.put(&Path::from("ab"), "x".into()).await.unwrap();
        store.set(Faults { stale_list: 1.0, ..Faults::default() });
        assert_eq!(names().await, ["a/1"]);
        store.enable(false);
        assert_eq!(names().await, ["a/1", "a/2"]);
    }
}
