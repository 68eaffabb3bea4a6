//! The end of an SSTable under another name: all that says its name are its properties, the last section before the footer.

use super::footer::{FOOTER_BYTES, Footer};
use super::properties::{META_FORMAT, PROPERTIES_MAGIC, Properties};
use crate::format::SstableName;
use bytes::Bytes;
use common::envelope;
use common::store::{SharedStore, failed};
use common::{Error, Result};
use object_store::ObjectStoreExt;
use object_store::path::Path;

/// What a copy under another name has in place of the original's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedEnd {
    /// Bytes of the original that stay as they are.
    pub keep: u64,
    /// What follows them.
    pub end: Bytes,
}

impl RenamedEnd {
    /// Of the SSTable `from` in an object of `size` bytes, to be called `to`: two small reads.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` if the end is damaged or belongs to another SSTable; `Unavailable`.
    pub async fn read(store: &SharedStore, path: &Path, size: u64, from: SstableName, to: SstableName) -> Result<Self> {
        let damaged = |why: &str| Error::corrupt(format!("object '{path}' is damaged: {why}"));
        let wrong = |e: object_store::Error| failed("read", path, &e);
        let footer_at = size.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("it is too short for an SSTable"))?;
        let footer = store.get_range(path, footer_at..size).await.map_err(wrong)?;
        let mut footer = Footer::decode(&footer, size).map_err(|why| damaged(&why))?;
        let keep = footer.properties.offset;
        let section = store.get_range(path, keep..keep + u64::from(footer.properties.length)).await.map_err(wrong)?;
        let found: Properties = envelope::decode(PROPERTIES_MAGIC, META_FORMAT, &section).map_err(|e| damaged(&e.message))?;
        if found.name != from {
            return Err(damaged(&format!("it says that it is {:?}, not {from:?}", found.name)));
        }
        let mut end = envelope::encode(PROPERTIES_MAGIC, META_FORMAT, &Properties { name: to, ..found })?;
        footer.properties.length = u32::try_from(end.len()).map_err(|_| Error::internal("properties of more than 4 GiB"))?;
        end.extend(footer.encode());
        Ok(Self { keep, end: end.into() })
    }

    /// Bytes of the copy.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.keep + self.end.len() as u64
    }
}
