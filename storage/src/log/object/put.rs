//! Creating the next object of a log: won, lost to another, or still unknown.
//!
//! A put that timed out or failed may have taken effect. It is repeated under the same name and nonce; "exists already"
//! is settled by reading who is there.

use super::format::{MAX_HEADER_BYTES, ObjectHeader};
use crate::format::{LogName, names};
use bytes::Bytes;
use common::store::{SharedStore, failed};
use common::{Error, ErrorKind, Result};
use object_store::{GetOptions, GetRange, ObjectStore, PutMode, PutOptions};
use std::time::Duration;

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// So often in all an object is read that does not decode before its number counts as damaged.
const DAMAGED_READS: u32 = 5;

/// How a put ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Won,
    /// The number holds this.
    Lost(ObjectHeader),
}

/// One log's objects in the store.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) store: SharedStore,
    pub(crate) name: LogName,
    /// A request is given up, and repeated, after this long.
    pub(crate) attempt: Duration,
}

impl Objects {
    /// Repeats until the outcome is known.
    ///
    /// # Errors
    /// `Corrupt` if the number holds something that is no log object.
    pub(crate) async fn put_until_known(&self, number: u64, nonce: u128, bytes: Bytes) -> Result<Put> {
        let (mut pause, mut damaged) = (FIRST_PAUSE, 0);
        loop {
            let put = self.put_once(number, nonce, bytes.clone()).await;
            // What was read back may have been damaged on its way only.
            damaged += u32::from(put.as_ref().is_err_and(|e| e.kind == ErrorKind::Corrupt));
            match put {
                Err(e) if e.kind == ErrorKind::Unavailable || damaged < DAMAGED_READS => {
                    tracing::warn!(error = %e, number, "a log object is not put; it is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                known => return known,
            }
        }
    }

    /// One attempt.
    ///
    /// # Errors
    /// `Unavailable`: the outcome is unknown; `Corrupt` as above.
    pub(crate) async fn put_once(&self, number: u64, nonce: u128, bytes: Bytes) -> Result<Put> {
        fail::fail_point!("log-object-put", |_| Err(Error::unavailable("failpoint: log-object-put")));
        let path = names::log_object(self.name, number);
        let opts = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.timed("create", number, self.store.put_opts(&path, bytes.into(), opts)).await?;
        fail::fail_point!("log-object-put-done", |_| Err(Error::unavailable("failpoint: log-object-put-done")));
        match put {
            Ok(_) => Ok(Put::Won),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => match self.header(number).await? {
                Some(header) if header.nonce == nonce => Ok(Put::Won),
                Some(header) => Ok(Put::Lost(header)),
                None => Err(Error::unavailable(format!("object '{path}' exists and does not"))),
            },
            Err(e) => Err(Error::unavailable(failed("create", &path, &e).message)),
        }
    }

    /// The header of an object; `None` if it does not exist.
    ///
    /// # Errors
    /// `Corrupt`, naming the object, `Unavailable`.
    pub(crate) async fn header(&self, number: u64) -> Result<Option<ObjectHeader>> {
        let path = names::log_object(self.name, number);
        let options = GetOptions { range: Some(GetRange::Bounded(0..MAX_HEADER_BYTES)), ..GetOptions::default() };
        let get = async {
            match self.store.get_opts(&path, options).await {
                Ok(got) => got.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        };
        let bytes = self.timed("read", number, get).await?.map_err(|e| failed("read", &path, &e))?;
        let decoded = bytes.map(|bytes| ObjectHeader::decode(&bytes, self.name, number)).transpose();
        decoded.map_err(|e| e.context(format!("log object '{path}' at offset 0")))
    }

    async fn timed<T>(&self, verb: &str, number: u64, request: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout(self.attempt, request).await.map_err(|_| {
            let path = names::log_object(self.name, number);
            Error::unavailable(format!("cannot {verb} object '{path}': no answer within {} ms", self.attempt.as_millis()))
        })
    }
}
