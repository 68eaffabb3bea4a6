//! Who this server is: kept on its volume, which one process holds at a time.

use common::ids::{Incarnation, ServerId};
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity.json";

/// What the volume remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The object store's cluster, as its identity says; an id means something only there.
    pub cluster: Option<String>,
    /// Given by the master once, to an empty volume.
    pub server: ServerId,
    /// The newest life that has begun on this volume.
    pub incarnation: Incarnation,
}

/// The data folder, exclusively this process' until dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if absent and takes it.
    ///
    /// # Errors
    /// `FailedPrecondition` if another process has it, `Unavailable` if the folder cannot be used.
    pub fn take(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| unusable(path, &e))?;
        let at = path.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&at).map_err(|e| unusable(&at, &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::refused(format!(
                "data folder '{}' is in use by another tablet server: stop it, or give this one a folder of its own",
                path.display()
            ))),
            Err(TryLockError::Error(e)) => Err(unusable(&at, &e)),
        }
    }

    /// What the volume remembers; `None` if it is empty.
    ///
    /// # Errors
    /// `Corrupt` if it cannot be read back: a guessed id could be another server's.
    pub fn identity(&self) -> Result<Option<Identity>> {
        let at = self.path.join(IDENTITY);
        match std::fs::read(&at) {
            Ok(bytes) => {
                let damaged = |e| Error::corrupt(format!("'{}' does not decode: {e}", at.display()));
                serde_json::from_slice(&bytes).map(Some).map_err(damaged)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unusable(&at, &e)),
        }
    }

    /// Begins the next life of `server` in `cluster`; durable when it returns.
    ///
    /// # Errors
    /// `FailedPrecondition` if the volume belongs to another server or cluster, `Unavailable` if it cannot be written.
    pub fn begin_life(&self, server: ServerId, cluster: Option<String>) -> Result<Identity> {
        let last = self.identity()?;
        if let Some(last) = &last {
            self.check(last, server, cluster.as_deref())?;
        }
        let incarnation = last.map_or(Incarnation(1), |last| last.incarnation.next());
        let identity = Identity { cluster, server, incarnation };
        self.replace(&identity).map_err(|e| unusable(&self.path.join(IDENTITY), &e))?;
        Ok(identity)
    }

    /// The folder of the server's disk cache.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// The folder of the server's log.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    fn check(&self, last: &Identity, server: ServerId, cluster: Option<&str>) -> Result<()> {
        let path = self.path.display();
        if last.server != server {
            return Err(Error::refused(format!("data folder '{path}' is tablet server {}'s, not {server}'s", last.server)));
        }
        match last.cluster.as_deref() {
            Some(mine) if Some(mine) != cluster => Err(Error::refused(format!(
                "data folder '{path}' belongs to cluster {mine} but the object store to {}: correct data_dir or store",
                cluster.unwrap_or("none")
            ))),
            _ => Ok(()),
        }
    }

    fn replace(&self, identity: &Identity) -> std::io::Result<()> {
        let temporary = self.path.join("identity.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(identity)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, self.path.join(IDENTITY))?;
        File::open(&self.path)?.sync_all()
    }
}

fn unusable(path: &Path, e: &std::io::Error) -> Error {
    Error::unavailable(format!("'{}' cannot be used: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_has_a_higher_incarnation_and_the_same_server() {
        let dir = tempfile::tempdir().unwrap();
        for life in 1..4 {
            let data = DataDir::take(dir.path()).unwrap();
            let identity = data.begin_life(ServerId(7), None).unwrap();
            assert_eq!(identity, Identity { cluster: None, server: ServerId(7), incarnation: Incarnation(life) });
            assert_eq!(data.identity().unwrap(), Some(identity));
        }
    }

    #[test]
    fn a_folder_in_use_and_a_folder_of_another_server_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        let e = DataDir::take(dir.path()).unwrap_err();
        assert!(e.message.contains("in use"), "{e}");
        data.begin_life(ServerId(1), None).unwrap();
        assert!(data.begin_life(ServerId(2), None).is_err());
    }

    #[test]
    fn a_folder_of_another_cluster_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        let cluster = |name: &str| Some(name.to_owned());
        data.begin_life(ServerId(1), None).unwrap();
        data.begin_life(ServerId(1), cluster("a")).unwrap();
        for other in [cluster("b"), None] {
            let e = data.begin_life(ServerId(1), other).unwrap_err();
            assert!(e.message.contains("cluster a"), "{e}");
        }
        assert_eq!(data.begin_life(ServerId(1), cluster("a")).unwrap().incarnation, Incarnation(3));
    }

    #[test]
    fn a_damaged_identity_is_not_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::take(dir.path()).unwrap();
        std::fs::write(dir.path().join(IDENTITY), b"{\"server\":").unwrap();
        assert_eq!(data.identity().unwrap_err().kind, common::ErrorKind::Corrupt);
        assert!(data.begin_life(ServerId(1), None).is_err());
    }
}
