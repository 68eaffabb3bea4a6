//! The object store that everything durable lives in, opened from a URL and proved before use.

mod durable_local;
mod faulty;
mod proof;

pub use durable_local::DurableLocal;
pub use faulty::{Faults, FaultyStore};
pub use proof::prove_create_if_absent;

use crate::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use std::time::Duration;

/// A store that everyone holds.
pub type SharedStore = Arc<dyn ObjectStore>;

/// A put, get or head of a small object takes at most this long an attempt (the library's default is
/// 30 s, longer than any failover lease).
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connecting takes at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Retries of one request end after this long (the library's default is 180 s).
pub const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens `url`: `s3://bucket/prefix`, `gs://bucket/prefix` (credentials and endpoint from the usual
/// environment variables), or a local folder as `file:///path` or a plain path, made if absent.
///
/// # Errors
/// `InvalidArgument` for a URL of another kind, `Unavailable` if the folder cannot be made.
pub fn open(url: &str) -> Result<SharedStore> {
    match url.split_once("://") {
        None => open_folder(std::path::Path::new(url)),
        Some(("file", path)) => open_folder(std::path::Path::new(path)),
        Some(("s3" | "s3a" | "gs", _)) => open_cloud(url),
        Some((scheme, _)) => Err(Error::invalid(format!("object store '{url}': unknown scheme '{scheme}': use s3://, gs:// or a folder"))),
    }
}

fn open_folder(path: &std::path::Path) -> Result<SharedStore> {
    Ok(Arc::new(DurableLocal::open(path)?))
}

fn open_cloud(url: &str) -> Result<SharedStore> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
    use object_store::{ClientConfigKey, RetryConfig};
    let wrong = |e: &dyn std::fmt::Display| Error::invalid(format!("object store '{url}': {e}"));
    let retry = RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    // Set one by one: a whole `ClientOptions` would forget what the environment says (plain HTTP, proxies).
    let timeouts = [(ClientConfigKey::Timeout, ATTEMPT_TIMEOUT), (ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT)];
    let text = |d: Duration| format!("{} ms", d.as_millis());
    let store: SharedStore = if url.starts_with("gs://") {
        let builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry);
        let builder = timeouts.into_iter().fold(builder, |b, (key, d)| b.with_config(GoogleConfigKey::Client(key), text(d)));
        Arc::new(builder.build().map_err(|e| wrong(&e))?)
    } else {
        let builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
        let builder = timeouts.into_iter().fold(builder, |b, (key, d)| b.with_config(AmazonS3ConfigKey::Client(key), text(d)));
        Arc::new(builder.build().map_err(|e| wrong(&e))?)
    };
    let prefix = url.splitn(4, '/').nth(3).unwrap_or_default().trim_matches('/').to_owned();
    Ok(if prefix.is_empty() { store } else { Arc::new(object_store::prefix::PrefixStore::new(store, prefix)) })
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
        object_store::Error::NotFound { .. } => Error::not_found(format!("cannot {verb} object '{path}': it does not exist")),
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
