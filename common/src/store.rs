//! The object store that everything durable lives in, opened from a URL and proved before use.

mod cloud;
mod durable_local;
mod faulty;
mod pace;
mod persist;
mod proof;
mod suffix;

pub use durable_local::DurableLocal;
pub use faulty::{Faults, FaultyStore};
pub use persist::Persistence;
pub use proof::prove_create_if_absent;

use crate::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;

/// A store that everyone holds.
pub type SharedStore = Arc<dyn ObjectStore>;

/// Opens `url`: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` (credentials and endpoint from the usual
/// environment variables: `AWS_…`, `GOOGLE_…`, `AZURE_…`), or a local folder as `file:///path` or a plain path, made if absent.
///
/// # Errors
/// `InvalidArgument` for a URL of another kind, `Unavailable` if the folder cannot be made.
pub fn open(url: &str) -> Result<SharedStore> {
    match url.split_once("://") {
        None => open_folder(std::path::Path::new(url)),
        Some(("file", path)) => open_folder(std::path::Path::new(path)),
        Some(("s3" | "s3a" | "gs" | "az", _)) => cloud::open(url),
        Some((scheme, _)) => {
            Err(Error::invalid(format!("object store '{url}': unknown scheme '{scheme}': use s3://, gs://, az:// or a folder")))
        }
    }
}

fn open_folder(path: &std::path::Path) -> Result<SharedStore> {
    Ok(Arc::new(DurableLocal::open(path)?))
}

/// Reads a whole object; `None` if it does not exist.
///
/// # Errors
/// `Unavailable`, naming the object.
pub async fn get_opt(store: &dyn ObjectStore, path: &Path) -> Result<Option<bytes::Bytes>> {
    let got = match store.get(path).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(failed("read", path, &e)),
    };
    got.bytes().await.map(Some).map_err(|e| failed("read", path, &e))
}

/// A number that nobody else draws. A put that carries it is known again when it is read back.
#[must_use]
pub fn nonce() -> u128 {
    rand::random()
}

/// The error of a store request that failed.
#[must_use]
pub fn failed(verb: &str, path: &Path, e: &object_store::Error) -> Error {
    match e {
        // Only a bucket can be missing where something is made.
        object_store::Error::NotFound { .. } if verb != "create" => {
            Error::not_found(format!("cannot {verb} object '{path}': it does not exist"))
        }
        e => Error::unavailable(format!("cannot {verb} object '{path}': {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_stores_open_and_the_error_names_the_others() {
        let e = open("ftp://host/x").unwrap_err();
        assert!(e.message.contains("ftp"), "{e}");
        assert!(open("gs://").is_err());
    }
}
