//! Looking into stored objects: what they hold, with everything verified that can be without their neighbours.

pub use crate::log::{LogGroup, LogSegment, LogSegmentKind};
pub use crate::sstable::{
    BlockKind, Bounds, ColumnBounds, ColumnSpan, ColumnStats, IndexEntry, Kind as ValueKind, Properties, Sstable, ValueBounds,
};

use crate::format::{MANIFEST_MAGIC, Manifest};
use bytes::Bytes;
use common::register::Register;
use common::{Error, Result, store};
use std::path::Path;

/// Reads the object at `path`: a local file, or an object in a store as `s3://bucket/…/name` or `gs://bucket/…/name`.
///
/// # Errors
/// `NotFound`, `InvalidArgument` for a URL of another kind, `Unavailable`.
pub async fn read_object(path: &str) -> Result<Bytes> {
    match path.split_once("://") {
        None => read_file(Path::new(path)),
        Some(("file", path)) => read_file(Path::new(path)),
        Some(_) => {
            let (folder, name) = path.rsplit_once('/').unwrap_or((path, ""));
            let found = store::get_opt(&store::open(folder)?, &name.into()).await?;
            found.ok_or_else(|| Error::not_found(format!("object '{path}' does not exist")))
        }
    }
}

fn read_file(path: &Path) -> Result<Bytes> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("file '{}' does not exist", path.display())),
        _ => Error::unavailable(format!("cannot read '{}': {e}", path.display())),
    };
    std::fs::read(path).map(Bytes::from).map_err(failed)
}

/// The manifest in the bytes of a register's version, and the epoch that the register has for it; or a manifest alone, as named
/// snapshots have them.
///
/// # Errors
/// `Corrupt`: a checksum, a field, or an epoch that is not the manifest's own.
pub fn manifest(bytes: &[u8]) -> Result<(Option<u64>, Manifest)> {
    if bytes.starts_with(&MANIFEST_MAGIC) {
        let manifest = Manifest::decode(bytes).map_err(|e| e.context("at offset 0"))?;
        return Ok((None, manifest));
    }
    let (epoch, content) = Register::decode(bytes).map_err(|e| e.context("at offset 0"))?;
    // The register's envelope ends with the content's length and the content.
    let offset = bytes.len() - content.len();
    let manifest = Manifest::decode(&content).map_err(|e| e.context(format!("at offset {offset}")))?;
    if epoch != manifest.epoch.0 {
        return Err(Error::corrupt(format!("the register's epoch {epoch} is not the manifest's, {}", manifest.epoch)));
    }
    Ok((Some(epoch), manifest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ErrorKind;

    const MANIFEST: &[u8] = include_bytes!("../testdata/manifest-v4");

    #[test]
    fn a_damaged_manifest_is_an_error_at_an_offset() {
        assert_eq!(manifest(MANIFEST).unwrap().0, None);
        for bit in 0..MANIFEST.len() * 8 {
            let mut damaged = MANIFEST.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let e = manifest(&damaged).unwrap_err();
            assert!(e.kind == ErrorKind::Corrupt && e.message.contains("at offset 0"), "bit {bit}: {e}");
        }
    }

    #[tokio::test]
    async fn an_object_is_read_from_a_file() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/manifest-v4");
        assert_eq!(read_object(path).await.unwrap(), MANIFEST);
        let e = read_object("/no/such/file").await.unwrap_err();
        assert!(e.kind == ErrorKind::NotFound && e.message.contains("/no/such/file"), "{e}");
    }
}
