//! `stele master init`: a cluster is born once, when somebody says so. A master that finds neither a folder nor a store of a
//! cluster may only look at the wrong place.

use crate::identity::{self, Standing};
use crate::raft::Disk;
use common::config::MasterConfig;
use common::{Error, Result, store};

/// Founds a cluster on `config.store`, whose first master has the folder `config.data_dir`; one that was founded so is left as
/// it is. Gives its id.
///
/// # Errors
/// `FailedPrecondition` if the store or the folder belongs to another cluster, the settings name masters to join, or the store
/// ignores create-if-absent; `Unavailable`, `Corrupt`.
pub async fn found(config: &MasterConfig) -> Result<String> {
    if !config.masters.is_empty() {
        return Err(Error::refused(
            "`masters` names a cluster that is there already: start a master with it on an empty folder to join that",
        ));
    }
    let disk = Disk::open(&config.data_dir)?;
    let store = store::open(&config.store)?;
    store::prove_create_if_absent(&store).await?;
    match identity::settle(&disk, &store, false).await? {
        Standing::Member(cluster, _) | Standing::New(cluster) => Ok(cluster.cluster),
    }
}

/// Refuses to start a master that nobody has made part of a cluster.
///
/// # Errors
/// `FailedPrecondition` if folder and store are both of no cluster, or the store ignores create-if-absent; `Unavailable`, `Corrupt`.
pub async fn check_founded(config: &MasterConfig) -> Result<()> {
    if !config.masters.is_empty() || identity::read_folder(&Disk::open(&config.data_dir)?)?.is_some() {
        return Ok(());
    }
    let store = store::open(&config.store)?;
    store::prove_create_if_absent(&store).await?;
    match identity::read_store(&store).await? {
        // What is wrong with that, its start says.
        Some(_) => Ok(()),
        None => Err(Error::refused(
            "neither `store` nor `data_dir` belongs to a cluster: found a new one with `stele master init` and the same settings, or correct them",
        )),
    }
}
