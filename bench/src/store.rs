//! An object store that counts what is asked of it, and can be as slow as a remote one.

use async_trait::async_trait;
use common::store::SharedStore;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Requests and bytes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads of objects or of ranges of them.
    pub gets: u64,
    /// Bytes of those.
    pub bytes_read: u64,
    /// Objects and parts written.
    pub puts: u64,
    /// Listings.
    pub lists: u64,
}

impl Counts {
    /// What has come since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            gets: self.gets - earlier.gets,
            bytes_read: self.bytes_read - earlier.bytes_read,
            puts: self.puts - earlier.puts,
            lists: self.lists - earlier.lists,
        }
    }
}

/// Counts, and delays puts.
#[derive(Debug)]
pub struct Counting {
    inner: SharedStore,
    put_delay: Duration,
    gets: AtomicU64,
    bytes_read: AtomicU64,
    puts: AtomicU64,
    lists: AtomicU64,
}

impl Counting {
    /// Counts what is asked of `inner`; each put takes `put_delay` longer.
    #[must_use]
    pub fn new(inner: SharedStore, put_delay: Duration) -> Self {
        Self { inner, put_delay, gets: 0.into(), bytes_read: 0.into(), puts: 0.into(), lists: 0.into() }
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let now = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Counts { gets: now(&self.gets), bytes_read: now(&self.bytes_read), puts: now(&self.puts), lists: now(&self.lists) }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn add(to: &AtomicU64, n: u64) {
    to.fetch_add(n, Ordering::Relaxed);
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        add(&self.puts, 1);
        tokio::time::sleep(self.put_delay).await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        add(&self.puts, 1);
        tokio::time::sleep(self.put_delay).await;
        self.inner.put_multipart_opts(location, opts).await
    }

    // Ranges that are read together come through here too, joined as for a remote store.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        add(&self.gets, 1);
        let head = options.head;
        let got = self.inner.get_opts(location, options).await?;
        if !head {
            add(&self.bytes_read, got.range.end - got.range.start);
        }
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        add(&self.lists, 1);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        add(&self.lists, 1);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    #[tokio::test]
    async fn reads_are_counted_with_their_bytes() {
        let store = Counting::new(Arc::new(InMemory::new()), Duration::ZERO);
        let at = Path::from("a");
        store.put(&at, vec![7; 100].into()).await.unwrap();
        let before = store.counts();
        store.get_range(&at, 10..30).await.unwrap();
        store.head(&at).await.unwrap();
        assert_eq!(store.counts().since(before), Counts { gets: 2, bytes_read: 20, puts: 0, lists: 0 });
    }
}
