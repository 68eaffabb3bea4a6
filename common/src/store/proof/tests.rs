use super::*;
use crate::ErrorKind;
use crate::store::{DurableLocal, Faults, FaultyStore};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutPayload, PutResult,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type StoreResult<T> = object_store::Result<T>;

/// What a store does with a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Answers 200 and overwrites, as Garage, rclone and s3rver do.
    Ignored,
    /// Looks whether the object is there, and writes a moment later.
    InTwoSteps,
}

#[derive(Debug)]
struct Unsound(InMemory, Condition);

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unsound")
    }
}

#[async_trait]
impl ObjectStore for Unsound {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> StoreResult<PutResult> {
        if self.1 == Condition::InTwoSteps && opts.mode == PutMode::Create {
            if self.0.head(location).await.is_ok() {
                return Err(object_store::Error::AlreadyExists { path: location.to_string(), source: "there".into() });
            }
            tokio::task::yield_now().await;
        }
        opts.mode = PutMode::Overwrite;
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn stores_that_ignore_the_condition_are_refused() {
    for (condition, seen) in [(Condition::Ignored, "created twice"), (Condition::InTwoSteps, "at once")] {
        let store: SharedStore = Arc::new(Unsound(InMemory::new(), condition));
        let e = prove_create_if_absent(&store).await.unwrap_err();
        assert_eq!(e.kind, ErrorKind::FailedPrecondition, "{condition:?}");
        assert!(e.message.contains("create-if-absent") && e.message.contains(seen), "{e}");
    }
}

#[tokio::test]
async fn sound_stores_pass_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let stores: [SharedStore; 2] = [Arc::new(InMemory::new()), Arc::new(DurableLocal::open(dir.path()).unwrap())];
    for store in stores {
        prove_create_if_absent(&store).await.unwrap();
        assert_eq!(store.list_with_delimiter(None).await.unwrap().objects, []);
    }
}

#[tokio::test]
async fn a_store_on_a_bad_day_is_not_called_unsound() {
    for seed in 0..50 {
        let store: SharedStore = FaultyStore::new(Arc::new(InMemory::new()), Faults::unreliable(0.1, Duration::ZERO), seed);
        if let Err(e) = prove_create_if_absent(&store).await {
            assert_eq!(e.kind, ErrorKind::Unavailable, "seed {seed}: {e}");
        }
    }
}
