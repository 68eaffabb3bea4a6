use super::{SharedStore, failed};
use crate::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

/// Proves that the store enforces create-if-absent, the one condition that Stele relies on: some
/// S3-alikes accept the header and ignore it, which would let two owners both win.
///
/// # Errors
/// `FailedPrecondition` if a second create of one object succeeds; `Unavailable` if the store does not answer.
pub async fn prove_create_if_absent(store: &SharedStore) -> Result<()> {
    let at = Path::from(format!("cluster/proof/{:032x}", rand::random::<u128>()));
    let create = || PutOptions { mode: PutMode::Create, ..Default::default() };
    store.put_opts(&at, "first".into(), create()).await.map_err(|e| failed("create", &at, &e))?;
    let second = store.put_opts(&at, "second".into(), create()).await;
    let removed = store.delete(&at).await;
    match second {
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            removed.map_err(|e| failed("delete", &at, &e))
        }
        Err(e) => Err(failed("create", &at, &e)),
        Ok(_) => Err(Error::refused(format!(
            "the object store {store} ignores create-if-absent (If-None-Match: *): two servers could own one tablet, so Stele does not start on it"
        ))),
    }
}
