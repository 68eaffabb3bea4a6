//! A store in memory whose puts a test holds back by number.

use super::super::format::{MAX_HEADER_BYTES, ObjectHeader, ObjectKind};
use super::NAME;
use crate::format::LogName;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Clone, Debug, Default)]
struct State {
    held: HashSet<u64>,
    attempts: HashMap<u64, usize>,
    landed: HashSet<u64>,
    fences_pass: bool,
    read: u64,
}

#[derive(Debug)]
pub(super) struct Gate {
    inner: InMemory,
    state: watch::Sender<State>,
}

impl Gate {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { inner: InMemory::new(), state: watch::Sender::default() })
    }

    pub(super) fn hold(&self, numbers: impl IntoIterator<Item = u64>) {
        self.state.send_modify(|s| s.held.extend(numbers));
    }

    pub(super) fn release(&self, numbers: impl IntoIterator<Item = u64>) {
        self.state.send_modify(|s| {
            numbers.into_iter().for_each(|n| {
                s.held.remove(&n);
            })
        });
    }

    pub(super) fn pass_fences(&self) {
        self.state.send_modify(|s| s.fences_pass = true);
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.state.borrow().read
    }

    /// Waits until a put of this number has come.
    pub(super) async fn arrived(&self, number: u64) {
        self.attempts(number, 1).await;
    }

    pub(super) async fn attempts(&self, number: u64, times: usize) {
        self.until(|s| s.attempts.get(&number).is_some_and(|n| *n >= times)).await;
    }

    pub(super) async fn landed(&self, numbers: impl IntoIterator<Item = u64>) {
        let numbers: Vec<_> = numbers.into_iter().collect();
        self.until(|s| numbers.iter().all(|n| s.landed.contains(n))).await;
    }

    pub(super) async fn numbers(&self, log: LogName) -> Vec<u64> {
        let prefix = crate::format::names::log_prefix(log);
        let listed: Vec<_> = self.inner.list(Some(&prefix)).try_collect().await.unwrap();
        listed.iter().map(|o| o.location.filename().unwrap().parse().unwrap()).collect()
    }

    async fn until(&self, is: impl Fn(&State) -> bool) {
        self.state.subscribe().wait_for(|s| is(s)).await.unwrap();
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gate")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Gate {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let number: u64 = location.filename().unwrap().parse().unwrap();
        let head: Vec<u8> = payload.iter().flatten().take(MAX_HEADER_BYTES as usize).copied().collect();
        let is_fence = ObjectHeader::decode(&head, NAME, number).is_ok_and(|h| h.kind == ObjectKind::Fence);
        self.state.send_modify(|s| *s.attempts.entry(number).or_default() += 1);
        self.until(|s| !s.held.contains(&number) || is_fence && s.fences_pass).await;
        let put = self.inner.put_opts(location, payload, opts).await;
        self.state.send_modify(|s| {
            s.landed.insert(number);
        });
        put
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.inner.get_opts(location, options).await?;
        self.state.send_modify(|s| s.read += got.range.end - got.range.start);
        Ok(got)
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
