//! Putting an object whose size is not known before: in one request if it is small, else in parts.

use common::store::{SharedStore, failed};
use common::{Error, Result};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};

/// Bytes of a part. S3 wants at least 5 MiB and at most 10,000 parts, so an object has at most 160 GiB.
const PART_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Upload {
    store: SharedStore,
    path: Path,
    buffer: Vec<u8>,
    /// Bytes before the buffer.
    sent: u64,
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Upload {
    pub(super) fn new(store: SharedStore, path: Path) -> Self {
        Self { store, path, buffer: Vec::new(), sent: 0, parts: None }
    }

    /// Where the next byte goes.
    pub(super) fn offset(&self) -> u64 {
        self.sent + self.buffer.len() as u64
    }

    /// Bytes that wait in memory.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES { self.send_part().await } else { Ok(()) }
    }

    async fn send_part(&mut self) -> Result<()> {
        if self.parts.is_none() {
            let begun = self.store.put_multipart(&self.path).await;
            self.parts = Some(begun.map_err(|e| failed("create", &self.path, &e))?);
        }
        let part = std::mem::take(&mut self.buffer);
        self.sent += part.len() as u64;
        let Some(parts) = &mut self.parts else { return Err(Error::internal("an upload without parts")) };
        parts.put_part(part.into()).await.map_err(|e| failed("write", &self.path, &e))
    }

    /// The object's size, once it is durable.
    pub(super) async fn finish(mut self) -> Result<u64> {
        fail::fail_point!("sstable-put", |_| Err(Error::unavailable("failpoint: sstable-put")));
        let size = self.offset();
        if self.parts.is_none() {
            let buffer = std::mem::take(&mut self.buffer);
            self.store.put(&self.path, buffer.into()).await.map_err(|e| failed("create", &self.path, &e))?;
            return Ok(size);
        }
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        let Some(mut parts) = self.parts.take() else { return Ok(size) };
        parts.complete().await.map_err(|e| failed("create", &self.path, &e))?;
        Ok(size)
    }

    /// Gives up; parts that were sent are removed as far as the store allows.
    pub(super) async fn abort(mut self) {
        if let Some(parts) = &mut self.parts {
            let _ = parts.abort().await;
        }
    }
}
