//! Creating the next object of a log: won, lost to another, or still unknown.
//!
//! A put that is slow or has failed may have taken effect. It is made again under the same name and nonce, beside those that
//! are without answer; "exists already" is settled by reading who is there. A log is fenced by its next number, never by time:
//! a put that is answered late was won or lost all the same.

use super::format::{MAX_HEADER_BYTES, ObjectHeader};
use crate::format::{LogName, names};
use bytes::Bytes;
use common::store::{Persistence, SharedStore, failed};
use common::{Error, ErrorKind, Result};
use object_store::{GetOptions, GetRange, ObjectStore, PutMode, PutOptions};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// After a put that has failed at once; those after it wait ever longer.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

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
    /// A put without answer is made again after this long, then after ever longer.
    pub(crate) attempt: Duration,
}

impl Objects {
    /// Repeats until the outcome is known.
    ///
    /// # Errors
    /// `Corrupt` if the number holds something that is no log object.
    pub(crate) async fn put_until_known(&self, number: u64, nonce: u128, bytes: Bytes) -> Result<Put> {
        let damaged = AtomicU32::new(0);
        let attempt = || async {
            let put = self.put_once(number, nonce, bytes.clone()).await;
            let Err(e) = put else { return put };
            // What was read back may have been damaged on its way only.
            if e.kind == ErrorKind::Corrupt && damaged.fetch_add(1, Ordering::Relaxed) + 1 >= DAMAGED_READS {
                return Err(e);
            }
            tracing::warn!(error = %e, number, "a log object is not put; it is tried again");
            Err(Error::unavailable(e.message))
        };
        let what = || format!("create object '{}'", names::log_object(self.name, number));
        Persistence { patience: self.attempt, pause: PAUSE, attempts: u32::MAX }.run(what, attempt).await
    }

    /// One attempt.
    ///
    /// # Errors
    /// `Unavailable`: the outcome is unknown; `Corrupt` as above.
    pub(crate) async fn put_once(&self, number: u64, nonce: u128, bytes: Bytes) -> Result<Put> {
        fail::fail_point!("log-object-put", |_| Err(Error::unavailable("failpoint: log-object-put")));
        let path = names::log_object(self.name, number);
        let opts = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store.put_opts(&path, bytes.into(), opts).await;
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
        let bytes = get.await.map_err(|e| failed("read", &path, &e))?;
        let decoded = bytes.map(|bytes| ObjectHeader::decode(&bytes, self.name, number)).transpose();
        decoded.map_err(|e| e.context(format!("log object '{path}' at offset 0")))
    }
}
