use common::{Error, Result};
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};
use std::fs::File;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const FILE: &str = "raft.redb";
const LOCK: &str = "lock";

/// A master's data folder: one redb file, under an exclusive lock that lives as long as this does.
/// Calls block for as long as an fsync takes.
#[derive(Clone, Debug)]
pub struct Disk {
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    db: Database,
    // Declared after the database: it is released last. `None`: there is no folder.
    lock: Option<File>,
}

/// What one write does to the log, beside setting values.
pub(super) enum LogChange<'a> {
    /// Adds entries, encoded.
    Append(&'a [(u64, Vec<u8>)]),
    /// Removes all entries of the range.
    Remove((std::ops::Bound<u64>, std::ops::Bound<u64>)),
}

impl Disk {
    /// Opens the folder, made if absent.
    ///
    /// # Errors
    /// `FailedPrecondition` if another process has it, `Unavailable` or `Corrupt` if it cannot be opened.
    pub fn open(folder: &Path) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::unavailable(format!("cannot open the data folder '{}': {e}", folder.display()));
        std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        let lock = File::create(folder.join(LOCK)).map_err(|e| failed(&e))?;
        lock.try_lock().map_err(|e| match e {
            std::fs::TryLockError::WouldBlock => {
                Error::refused(format!("another process uses the data folder '{}': a folder has one master", folder.display()))
            }
            std::fs::TryLockError::Error(e) => failed(&e),
        })?;
        let db = Database::create(folder.join(FILE)).map_err(|e| failed(&e))?;
        let disk = Self::of(db, Some(lock))?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| failed(&e))?;
        Ok(disk)
    }

    /// What takes the place of the file, in memory: nothing that is written to it keeps a thread waiting.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt` if it cannot be opened.
    pub fn in_memory(file: impl StorageBackend) -> Result<Self> {
        let db = Builder::new().create_with_backend(file).map_err(|e| Error::unavailable(format!("cannot open the Raft file: {e}")))?;
        Self::of(db, None)
    }

    fn of(db: Database, lock: Option<File>) -> Result<Self> {
        let disk = Self { open: Arc::new(Open { db, lock }) };
        disk.write(Durability::Immediate, |_| Ok(()))?;
        Ok(disk)
    }

    /// Whether a write may keep its thread waiting.
    #[must_use]
    pub(super) fn waits(&self) -> bool {
        self.open.lock.is_some()
    }

    /// Whether this is the last handle, so that dropping it gives the folder free.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.open) == 1
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `Corrupt`, if the file cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let read = self.open.db.begin_read().map_err(broken)?;
        let table = read.open_table(META).map_err(broken)?;
        Ok(table.get(key).map_err(broken)?.map(|v| v.value().to_vec()))
    }

    /// Sets values; on disk when this returns.
    ///
    /// # Errors
    /// `Unavailable`, if the file cannot be written.
    pub fn put(&self, values: &[(&str, &[u8])]) -> Result<()> {
        self.write(Durability::Immediate, |txn| set(txn, values))
    }

    /// Sets a value that may be lost with the process: it gets on disk with the next durable write.
    pub(super) fn put_lazily(&self, key: &str, value: &[u8]) -> Result<()> {
        self.write(Durability::None, |txn| set(txn, &[(key, value)]))
    }

    /// Changes the log and sets values, all or nothing; on disk when this returns.
    pub(super) fn change_log(&self, change: &LogChange<'_>, values: &[(&str, &[u8])]) -> Result<()> {
        self.write(Durability::Immediate, |txn| {
            set(txn, values)?;
            let mut log = txn.open_table(LOG)?;
            match change {
                LogChange::Append(entries) => {
                    for (index, entry) in *entries {
                        log.insert(*index, entry.as_slice())?;
                    }
                }
                LogChange::Remove(range) => log.retain_in::<u64, _>(*range, |_, _| false)?,
            }
            Ok(())
        })
    }

    /// The encoded entries of `range`, in order.
    pub(super) fn entries(&self, range: impl RangeBounds<u64>) -> Result<Vec<Vec<u8>>> {
        let read = self.open.db.begin_read().map_err(broken)?;
        let log = read.open_table(LOG).map_err(broken)?;
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        let found = log.range::<u64>(range).map_err(broken)?;
        found.map(|entry| Ok(entry.map_err(broken)?.1.value().to_vec())).collect()
    }

    /// The newest entry.
    pub(super) fn last_entry(&self) -> Result<Option<Vec<u8>>> {
        let read = self.open.db.begin_read().map_err(broken)?;
        let log = read.open_table(LOG).map_err(broken)?;
        Ok(log.last().map_err(broken)?.map(|(_, entry)| entry.value().to_vec()))
    }

    fn write(&self, durability: Durability, change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<()> {
        let run = || -> Result<(), redb::Error> {
            let mut txn = self.open.db.begin_write()?;
            txn.set_durability(durability)?;
            txn.open_table(META)?;
            txn.open_table(LOG)?;
            change(&txn)?;
            Ok(txn.commit()?)
        };
        run().map_err(|e| Error::unavailable(format!("cannot write the Raft file: {e}")))
    }
}

fn set(txn: &WriteTransaction, values: &[(&str, &[u8])]) -> Result<(), redb::Error> {
    let mut meta = txn.open_table(META)?;
    for (key, value) in values {
        meta.insert(*key, *value)?;
    }
    Ok(())
}

fn broken(e: impl Into<redb::Error>) -> Error {
    Error::corrupt(format!("cannot read the Raft file: {}", e.into()))
}
