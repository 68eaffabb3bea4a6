use crate::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, UploadPart,
};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type StoreResult<T> = object_store::Result<T>;

/// A local folder as an object store whose puts are on disk when they return.
///
/// `LocalFileSystem` does not fsync. Here an object is written beside its place, fsynced, linked
/// (create-if-absent) or renamed (overwrite) into place, and its folders are fsynced: after a power
/// loss an object is there whole or not at all.
#[derive(Clone, Debug)]
pub struct DurableLocal {
    inner: Arc<LocalFileSystem>,
    root: PathBuf,
    staged: Arc<AtomicU64>,
}

impl DurableLocal {
    /// Opens a folder, made if absent.
    ///
    /// # Errors
    /// `Unavailable`, naming the folder.
    pub fn open(root: &std::path::Path) -> Result<Self> {
        let wrong =
            |e: &dyn fmt::Display| Error::unavailable(format!("cannot open the folder '{}' as an object store: {e}", root.display()));
        fs::create_dir_all(root).map_err(|e| wrong(&e))?;
        let root = root.canonicalize().map_err(|e| wrong(&e))?;
        let inner = LocalFileSystem::new_with_prefix(&root).map_err(|e| wrong(&e))?;
        Ok(Self { inner: Arc::new(inner), root, staged: Arc::default() })
    }

    fn put_blocking(&self, location: &Path, payload: &PutPayload, mode: &PutMode) -> StoreResult<PutResult> {
        let place = self.inner.path_to_filesystem(location)?;
        let io = |e: io::Error| generic(location, e);
        let folder = place.parent().unwrap_or(&self.root);
        self.make_folder(folder).map_err(io)?;
        // A name that `LocalFileSystem` takes for its own staging file and does not list.
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        let staged = PathBuf::from(format!("{}#{}{number}", place.display(), std::process::id()));
        let done = write_synced(&staged, payload).map_err(io).and_then(|()| match mode {
            PutMode::Create => fs::hard_link(&staged, &place).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path: location.to_string(), source: e.into() },
                _ => io(e),
            }),
            PutMode::Overwrite => fs::rename(&staged, &place).map_err(io),
            PutMode::Update(_) => {
                Err(object_store::Error::NotImplemented { operation: "conditional update".into(), implementer: "DurableLocal".into() })
            }
        });
        let _ = fs::remove_file(&staged);
        done?;
        sync_folder(folder).map_err(io)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    /// Makes a folder and the missing ones above it, each durable in its parent.
    fn make_folder(&self, folder: &std::path::Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent().filter(|p| p.starts_with(&self.root)) {
            self.make_folder(parent)?;
        }
        match fs::create_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => folder.parent().map_or(Ok(()), sync_folder),
        }
    }
}

fn write_synced(path: &std::path::Path, payload: &PutPayload) -> io::Result<()> {
    let mut file = File::create(path)?;
    payload.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn sync_folder(folder: &std::path::Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Reads ranges of one file, each into memory of its own that is not filled with zeros first. A range that reaches over the end is
/// cut short there.
fn read_ranges(place: &std::path::Path, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
    let wrong = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => object_store::Error::NotFound { path: location.to_string(), source: e.into() },
        _ => generic(location, e),
    };
    let mut file = File::open(place).map_err(wrong)?;
    let size = file.metadata().map_err(wrong)?.len();
    ranges.iter().map(|range| read_range(&mut file, size, range).map_err(wrong)).collect()
}

fn read_range(file: &mut File, size: u64, range: &Range<u64>) -> io::Result<Bytes> {
    if range.start >= size || range.end <= range.start {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("bytes {} to {} of {size}", range.start, range.end)));
    }
    let length = range.end.min(size) - range.start;
    let mut out = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    file.seek(SeekFrom::Start(range.start))?;
    file.take(length).read_to_end(&mut out)?;
    Ok(out.into())
}

fn generic(location: &Path, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    let source: Box<dyn std::error::Error + Send + Sync> = e.into();
    object_store::Error::Generic { store: "DurableLocal", source: format!("{location}: {source}").into() }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        let (this, at) = (self.clone(), location.clone());
        tokio::task::spawn_blocking(move || this.put_blocking(&at, &payload, &opts.mode)).await.map_err(|e| generic(location, e))?
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        let place = self.inner.path_to_filesystem(location)?;
        Ok(Box::new(DurableUpload { upload, place, location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        let place = self.inner.path_to_filesystem(location)?;
        let (at, ranges) = (location.clone(), ranges.to_vec());
        tokio::task::spawn_blocking(move || read_ranges(&place, &at, &ranges)).await.map_err(|e| generic(location, e))?
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    place: PathBuf,
    location: Path,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let put = self.upload.complete().await?;
        let (place, location) = (self.place.clone(), self.location.clone());
        let synced = move || -> io::Result<()> {
            File::open(&place)?.sync_all()?;
            place.parent().map_or(Ok(()), sync_folder)
        };
        tokio::task::spawn_blocking(synced).await.map_err(|e| generic(&location, e))?.map_err(|e| generic(&location, e))?;
        Ok(put)
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn create_is_exclusive_and_overwrite_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocal::open(dir.path()).unwrap();
        let at = Path::from("a/b/c");
        let create = || PutOptions { mode: PutMode::Create, ..Default::default() };
        store.put_opts(&at, "one".into(), create()).await.unwrap();
        let second = store.put_opts(&at, "two".into(), create()).await.unwrap_err();
        assert!(matches!(second, object_store::Error::AlreadyExists { .. }), "{second}");
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&at, "three".into()).await.unwrap();
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "three");
        let files = fs::read_dir(dir.path().join("a/b")).unwrap().count();
        assert_eq!(files, 1, "no staging file stays");
    }

    #[tokio::test]
    async fn ranges_are_what_lies_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocal::open(dir.path()).unwrap();
        let at = Path::from("a/b");
        let data: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        store.put(&at, data.clone().into()).await.unwrap();
        let ranges = [0..1, 7..70_000, 99_999..100_000, 3..5];
        let read = store.get_ranges(&at, &ranges).await.unwrap();
        for (range, read) in ranges.iter().zip(&read) {
            assert_eq!(*read, data[range.start as usize..range.end as usize]);
        }
        let over = store.get_ranges(&at, std::slice::from_ref(&(99_990..100_010))).await.unwrap();
        assert_eq!(over, [data[99_990..].to_vec()], "cut short where the object ends");
        assert!(store.get_ranges(&at, std::slice::from_ref(&(100_000..100_001))).await.is_err(), "behind the end");
        let missing = store.get_ranges(&Path::from("a/c"), &ranges).await.unwrap_err();
        assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
    }
}
