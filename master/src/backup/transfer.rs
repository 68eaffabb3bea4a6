//! Copying one object from store to store: streamed, checksummed on the way, whole at the target or not at all.

use super::Stored;
use bytes::Bytes;
use common::store::{SharedStore, failed};
use common::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use storage::procedures::RenamedEnd;

/// Bytes of a part. S3 wants at least 5 MiB and at most 10,000 parts; so much memory a copy takes.
const PART_BYTES: usize = 16 << 20;
/// Objects that are deleted at once.
const DELETES: usize = 16;

/// A place in a store.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The store.
    pub store: &'a SharedStore,
    /// The object.
    pub path: Path,
}

/// What was read: how much, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    size: u64,
    crc32c: u32,
}

impl Sum {
    const NONE: Self = Self { size: 0, crc32c: 0 };

    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }
}

/// Copies an object of this size, unless an earlier attempt has: then its copy is read and compared with the original.
///
/// # Errors
/// `NotFound` without the original, `Corrupt` if it has another size, `Unavailable`: it can be repeated.
pub async fn copy(from: Target<'_>, to: Target<'_>, size: u64) -> Result<Stored> {
    if there(&to, size).await? {
        let (copied, original) = futures::future::try_join(sum(&to), sum(&from)).await?;
        if copied == original {
            return Ok(Stored { path: to.path.to_string(), size, crc32c: copied.crc32c });
        }
    }
    let path = to.path.to_string();
    let fits = |sum: Sum| {
        let other = || Error::corrupt(format!("object '{}' has {} bytes, its manifest says {size}", from.path, sum.size));
        if sum.size == size { Ok(()) } else { Err(other()) }
    };
    let sum = stream(&from, &to, None, fits).await?;
    Ok(Stored { path, size, crc32c: sum.crc32c })
}

/// Copies an SSTable that must be what was noted of it, with the end that another name gives it. One that is there with its
/// size was verified before it was put.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unavailable`: it can be repeated.
pub async fn copy_renamed(from: Target<'_>, to: Target<'_>, noted: &Stored, end: &RenamedEnd) -> Result<()> {
    if there(&to, end.size()).await? {
        return Ok(());
    }
    let fits = |sum: Sum| verify(&from.path, sum, noted);
    stream(&from, &to, Some(end), fits).await.map(|_| ())
}

/// Reads an object that must be what was noted of it.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unavailable`.
pub async fn read_exactly(store: &SharedStore, noted: &Stored) -> Result<Bytes> {
    let path = Path::from(noted.path.as_str());
    let got = store.get(&path).await.map_err(|e| failed("read", &path, &e))?;
    let bytes = got.bytes().await.map_err(|e| failed("read", &path, &e))?;
    let mut sum = Sum::NONE;
    sum.add(&bytes);
    verify(&path, sum, noted)?;
    Ok(bytes)
}

fn verify(path: &Path, sum: Sum, noted: &Stored) -> Result<()> {
    let noted = Sum { size: noted.size, crc32c: noted.crc32c };
    if sum == noted {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "object '{path}' is damaged: {} bytes with checksum {:08x}, noted were {} with {:08x}",
        sum.size, sum.crc32c, noted.size, noted.crc32c
    )))
}

async fn there(at: &Target<'_>, size: u64) -> Result<bool> {
    match at.store.head(&at.path).await {
        Ok(meta) => Ok(meta.size == size),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(failed("look up", &at.path, &e)),
    }
}

async fn sum(of: &Target<'_>) -> Result<Sum> {
    let wrong = |e: object_store::Error| failed("read", &of.path, &e);
    let mut chunks = of.store.get(&of.path).await.map_err(wrong)?.into_stream();
    let mut sum = Sum::NONE;
    while let Some(chunk) = chunks.try_next().await.map_err(wrong)? {
        sum.add(&chunk);
    }
    Ok(sum)
}

/// Reads, sums up and writes, up to where another end takes the place of what was read; the target appears only if `fits` says so.
async fn stream(from: &Target<'_>, to: &Target<'_>, end: Option<&RenamedEnd>, fits: impl Fn(Sum) -> Result<()>) -> Result<Sum> {
    let unwritten = |e: object_store::Error| failed("create", &to.path, &e);
    let parts = to.store.put_multipart(&to.path).await.map_err(unwritten)?;
    let mut upload = WriteMultipart::new_with_chunk_size(parts, PART_BYTES);
    match pour(from, &mut upload, end).await.and_then(|total| fits(total).map(|()| total)) {
        Ok(total) => upload.finish().await.map(|_| total).map_err(unwritten),
        Err(e) => {
            // Parts that were sent are removed as far as the store allows.
            let _ = upload.abort().await;
            Err(e)
        }
    }
}

async fn pour(from: &Target<'_>, upload: &mut WriteMultipart, end: Option<&RenamedEnd>) -> Result<Sum> {
    let wrong = |e: object_store::Error| failed("copy", &from.path, &e);
    let mut chunks = from.store.get(&from.path).await.map_err(wrong)?.into_stream();
    let mut total = Sum::NONE;
    while let Some(chunk) = chunks.try_next().await.map_err(wrong)? {
        let left = end.map_or(u64::MAX, |end| end.keep.saturating_sub(total.size));
        total.add(&chunk);
        let kept = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        // One part on its way at a time: several objects are copied beside each other.
        upload.wait_for_capacity(1).await.map_err(wrong)?;
        upload.put(chunk.slice(..kept));
    }
    end.into_iter().for_each(|end| upload.put(end.end.clone()));
    Ok(total)
}

/// Deletes all objects under a prefix.
///
/// # Errors
/// `Unavailable`: it can be repeated.
pub async fn delete_all(store: &SharedStore, prefix: &Path) -> Result<()> {
    let listed: Vec<_> = store.list(Some(prefix)).try_collect().await.map_err(|e| failed("list", prefix, &e))?;
    let delete = |at: Path| async move {
        match store.delete(&at).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed("delete", &at, &e)),
        }
    };
    futures::stream::iter(listed).map(|o| delete(o.location)).buffer_unordered(DELETES).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ErrorKind;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn stores() -> (SharedStore, SharedStore) {
        (Arc::new(InMemory::new()), Arc::new(InMemory::new()))
    }

    fn at<'a>(store: &'a SharedStore, path: &str) -> Target<'a> {
        Target { store, path: Path::from(path) }
    }

    #[tokio::test]
    async fn an_object_of_several_parts_arrives_whole_and_is_not_copied_twice() {
        let (from, to) = stores();
        let bytes: Vec<u8> = (0..2 * PART_BYTES + 77).map(|i| ((i * 31) >> 7) as u8).collect();
        from.put(&Path::from("a"), bytes.clone().into()).await.unwrap();
        let stored = copy(at(&from, "a"), at(&to, "x/a"), bytes.len() as u64).await.unwrap();
        assert_eq!((stored.path.as_str(), stored.crc32c), ("x/a", crc32c::crc32c(&bytes)));
        assert_eq!(to.get(&Path::from("x/a")).await.unwrap().bytes().await.unwrap(), bytes);
        assert_eq!(copy(at(&from, "a"), at(&to, "x/a"), bytes.len() as u64).await.unwrap(), stored);
        // What an interrupted attempt may have left under the name is replaced.
        to.put(&Path::from("x/a"), vec![0; bytes.len()].into()).await.unwrap();
        assert_eq!(copy(at(&from, "a"), at(&to, "x/a"), bytes.len() as u64).await.unwrap(), stored);
        assert_eq!(read_exactly(&to, &stored).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn what_is_not_as_noted_never_appears_at_the_target() {
        let (from, to) = stores();
        from.put(&Path::from("a"), "abc".into()).await.unwrap();
        let noted = Stored { path: "a".into(), size: 3, crc32c: crc32c::crc32c(b"abc") };
        let renamed = RenamedEnd { keep: 2, end: Bytes::from_static(b"xyz") };
        copy_renamed(at(&from, "a"), at(&to, "good"), &noted, &renamed).await.unwrap();
        assert_eq!(to.get(&Path::from("good")).await.unwrap().bytes().await.unwrap(), "abxyz");
        for wrong in [Stored { size: 4, ..noted.clone() }, Stored { crc32c: 1, ..noted.clone() }] {
            let e = copy_renamed(at(&from, "a"), at(&to, "b"), &wrong, &renamed).await.unwrap_err();
            assert!(e.kind == ErrorKind::Corrupt && e.message.contains("object 'a'"), "{e}");
            assert!(read_exactly(&from, &wrong).await.is_err());
        }
        assert_eq!(copy(at(&from, "a"), at(&to, "b"), 9).await.unwrap_err().kind, ErrorKind::Corrupt);
        assert_eq!(copy(at(&from, "none"), at(&to, "b"), 9).await.unwrap_err().kind, ErrorKind::NotFound);
        let there: Vec<_> = to.list(None).try_collect().await.unwrap();
        assert_eq!(there.len(), 1, "{there:?}");
        delete_all(&to, &Path::default()).await.unwrap();
        assert!(to.list(None).next().await.is_none());
    }
}
