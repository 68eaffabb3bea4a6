//! A store that fails: nothing acknowledged is lost, nothing is half done.

use super::harness::{World, set, values, write};
use crate::{LogConfig, ObjectLogSettings};
use common::ErrorKind;
use common::ids::Seq;
use common::store::{Faults, FaultyStore, SharedStore};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Fails the next puts of objects under a folder name; they may have taken effect.
#[derive(Debug)]
struct Flaky {
    inner: SharedStore,
    folder: &'static str,
    failures: AtomicU32,
    takes_effect: bool,
}

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("flaky")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fails = location.as_ref().contains(self.folder)
            && self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if fails && self.takes_effect {
            let _ = self.inner.put_opts(location, payload, opts).await;
        } else if !fails {
            return self.inner.put_opts(location, payload, opts).await;
        }
        Err(Error::Generic { store: "flaky", source: "timed out".into() })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn flaky(world: &mut World, folder: &'static str, takes_effect: bool) -> Arc<Flaky> {
    let store = Arc::new(Flaky { inner: world.store.clone(), folder, failures: AtomicU32::new(0), takes_effect });
    world.store = store.clone();
    store
}

#[tokio::test]
async fn an_sstable_that_cannot_be_put_leaves_its_rows_in_memory_and_log() {
    let mut world = World::new();
    let store = flaky(&mut world, "/sst/", false);
    let (_, t) = world.start().await;
    write(&t, set("a", "1")).await;
    store.failures.store(1, Ordering::SeqCst);
    assert_eq!(t.flush().await.unwrap_err().kind, ErrorKind::Unavailable);
    write(&t, set("b", "2")).await;
    assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=2"]);
    t.flush().await.unwrap();
    assert_eq!((t.stats().sstables, t.stats().memtable_bytes), (2, 0));
    let (_, t) = world.start().await;
    assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=2"]);
}

#[tokio::test]
async fn a_manifest_put_of_unknown_outcome_is_settled_by_the_next() {
    for takes_effect in [false, true] {
        let mut world = World::new();
        let store = flaky(&mut world, "/manifest/", takes_effect);
        let (_, t) = world.start().await;
        write(&t, set("a", "1")).await;
        // More than the register tries by itself, so that its caller is told that the outcome is unknown.
        let tries = if takes_effect { 1 } else { 5 };
        store.failures.store(tries, Ordering::SeqCst);
        let flushed = t.flush().await;
        assert_eq!(flushed.is_ok(), takes_effect, "{flushed:?}");
        write(&t, set("b", "2")).await;
        t.flush().await.unwrap();
        assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=2"]);
        let (_, t) = world.start().await;
        assert_eq!(values(&t, Seq::MAX).await, ["a=1", "b=2"]);
    }
}

#[tokio::test]
async fn an_own_manifest_that_arrived_late_does_not_fence_its_owner() {
    let mut world = World::new();
    let (engine, t) = world.start().await;
    let (number, mut next) = crate::manifest::ManifestStore::newest(world.store.clone(), t.id()).await.unwrap().unwrap();
    engine.close_tablet(t.id()).await.unwrap();
    let (number, newest) =
        crate::manifest::ManifestStore::newest(world.store.clone(), t.id()).await.unwrap().map_or((number, next.clone()), |n| n);
    next = newest;
    let store = flaky(&mut world, "/manifest/", false);
    next.highest_timestamp = common::time::Micros(1);
    let mut manifests = crate::manifest::ManifestStore::take(world.store.clone(), number, next.clone()).await.unwrap();
    store.failures.store(5, Ordering::SeqCst);
    next.highest_timestamp = common::time::Micros(2);
    assert_eq!(manifests.put(next.clone()).await.unwrap_err().kind, ErrorKind::Unavailable);
    // The put arrives after all.
    let register = common::register::Register::new(world.store.clone(), crate::format::names::manifest_prefix(t.id()));
    assert!(register.put(number + 2, next.epoch.0, &next.encode().unwrap()).await.unwrap());
    next.highest_timestamp = common::time::Micros(3);
    manifests.put(next).await.unwrap();
}

/// What a write still has to do is done by a task once its caller has gone; at the end of the process there are no tasks.
#[test]
fn a_process_may_end_with_a_write_under_way() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut world = World::new();
    let store = FaultyStore::new(Arc::new(InMemory::new()), Faults::default(), 1);
    world.store = store.clone();
    world.tune = |config| config.log = LogConfig::Object(ObjectLogSettings::default());
    let (_engine, tablet) = runtime.block_on(async {
        let (engine, tablet) = world.start().await;
        store.set(Faults { slow: 1.0, delay: Duration::from_secs(3600), ..Faults::default() });
        let writer = tablet.clone();
        tokio::spawn(async move { writer.write(vec![set("a", "1")], None).await });
        while store.injected() == 0 {
            tokio::task::yield_now().await;
        }
        (engine, tablet)
    });
    drop(runtime);
    assert_eq!(tablet.visible(), Seq::ZERO);
}
