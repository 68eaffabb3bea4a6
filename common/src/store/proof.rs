use super::{SharedStore, failed, get_opt};
use crate::{Error, Result};
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

/// Races that are run: a store whose check and write are two steps loses most, but not all.
const RACES: usize = 3;
/// Creates of one object at once in a race.
const RACERS: usize = 4;

/// Proves that the store enforces create-if-absent, the one condition that Stele relies on: some S3-alikes accept the
/// header and ignore it, others look first and write then, and on either two owners would both win.
///
/// Puts and deletes a few objects under `cluster/proof/`.
///
/// # Errors
/// `FailedPrecondition` if a second create of one object succeeds, or two at once do; `Unavailable` if the store does not
/// answer or refuses the requests.
pub async fn prove_create_if_absent(store: &SharedStore) -> Result<()> {
    one_after_the_other(store).await?;
    for _ in 0..RACES {
        all_at_once(store).await?;
    }
    Ok(())
}

/// How a create ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Created {
    Won,
    /// It was there already.
    Lost,
}

async fn one_after_the_other(store: &SharedStore) -> Result<()> {
    let at = place();
    let first = create(store, &at, "first").await?;
    let second = create(store, &at, "second").await;
    let there = get_opt(store, &at).await?;
    let removed = remove(store, &at).await;
    // The first may have been repeated by the client after an answer that was lost on its way.
    if second? == Created::Won || there.as_deref() != Some(b"first".as_slice()) {
        let what = if first == Created::Won { "created twice" } else { "created after it was there" };
        return Err(ignored(store, &format!("object '{at}' could be {what}")));
    }
    removed
}

async fn all_at_once(store: &SharedStore) -> Result<()> {
    let at = place();
    let texts: Vec<String> = (0..RACERS).map(|n| format!("racer {n}")).collect();
    let ended = join_all(texts.iter().map(|text| create(store, &at, text))).await;
    let there = get_opt(store, &at).await?;
    let removed = remove(store, &at).await;
    let winners: Vec<_> = texts.iter().zip(&ended).filter(|(_, ended)| **ended == Ok(Created::Won)).map(|(text, _)| text).collect();
    match winners.as_slice() {
        [winner] if there.as_deref() != Some(winner.as_bytes()) => {
            Err(ignored(store, &format!("object '{at}' was created and then overwritten by another create at the same time")))
        }
        [_] => removed,
        // All were refused, or nobody knows: the store has not done wrong, only little.
        [] => ended.into_iter().find_map(Result::err).map_or(removed, Err),
        several => Err(ignored(store, &format!("object '{at}' was created {} times at once", several.len()))),
    }
}

fn place() -> Path {
    Path::from(format!("cluster/proof/{:032x}", rand::random::<u128>()))
}

async fn create(store: &SharedStore, at: &Path, text: &str) -> Result<Created> {
    let opts = PutOptions { mode: PutMode::Create, ..Default::default() };
    match store.put_opts(at, text.as_bytes().to_vec().into(), opts).await {
        Ok(_) => Ok(Created::Won),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(Created::Lost),
        Err(e) => Err(failed("create", at, &e)),
    }
}

async fn remove(store: &SharedStore, at: &Path) -> Result<()> {
    match store.delete(at).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(failed("delete", at, &e)),
    }
}

fn ignored(store: &SharedStore, seen: &str) -> Error {
    Error::refused(format!(
        "the object store {store} does not keep create-if-absent (If-None-Match: *): {seen}. Two servers could own one tablet, so Stele does \
         not start on it: use a store that keeps the condition, for example S3, GCS, Azure Blob Storage, Ceph or a folder"
    ))
}

#[cfg(test)]
mod tests;
