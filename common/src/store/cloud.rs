//! Object stores of cloud providers, and what speaks their languages.

use super::SharedStore;
use super::pace::Paced;
use super::suffix::SuffixBySize;
use crate::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// Connecting takes at most this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A request as a whole. It only bounds what [`Paced`] lets pass, which is the real bound, so it is far above it.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Retries of one request end after this long (the library's default is 180 s).
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest pause between two of them (the library's default is 15 s): a store that is back is noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Opens `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
///
/// # Errors
/// `InvalidArgument`, naming the URL, if it or the environment says something that cannot be.
pub(super) fn open(url: &str) -> Result<SharedStore> {
    let wrong = |e: &dyn std::fmt::Display| Error::invalid(format!("object store '{url}': {e}"));
    let store: SharedStore = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("gs") => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry()).with_http_connector(Paced::default());
            let builder = timeouts().into_iter().fold(builder, |b, (key, text)| b.with_config(GoogleConfigKey::Client(key), text));
            Arc::new(builder.build().map_err(|e| wrong(&e))?)
        }
        Some("az") => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry()).with_http_connector(Paced::default());
            let builder = timeouts().into_iter().fold(builder, |b, (key, text)| b.with_config(AzureConfigKey::Client(key), text));
            Arc::new(SuffixBySize(Arc::new(builder.build().map_err(|e| wrong(&e))?)))
        }
        _ => {
            let builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry()).with_http_connector(Paced::default());
            let builder = timeouts().into_iter().fold(builder, |b, (key, text)| b.with_config(AmazonS3ConfigKey::Client(key), text));
            Arc::new(builder.build().map_err(|e| wrong(&e))?)
        }
    };
    let prefix = url.splitn(4, '/').nth(3).unwrap_or_default().trim_matches('/').to_owned();
    Ok(if prefix.is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) })
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: LONGEST_PAUSE, ..BackoffConfig::default() };
    RetryConfig { retry_timeout: RETRY_TIMEOUT, backoff, ..RetryConfig::default() }
}

/// Set one by one: a whole `ClientOptions` would forget what the environment says (plain HTTP, proxies).
fn timeouts() -> [(ClientConfigKey, String); 2] {
    let text = |d: Duration| format!("{} ms", d.as_millis());
    [(ClientConfigKey::Timeout, text(WHOLE_TIMEOUT)), (ClientConfigKey::ConnectTimeout, text(CONNECT_TIMEOUT))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_store_opens_by_its_url() {
        // Accounts and credentials come from the environment; a bucket is not asked for before it is used.
        assert!(open("s3://bucket/some/prefix").is_ok());
        for nowhere in ["gs://", "az://"] {
            let e = open(nowhere).unwrap_err();
            assert!(e.message.contains(nowhere), "{e}");
        }
    }
}
