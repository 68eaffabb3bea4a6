//! A small tablet's records, copied to the log's end: a cold tablet then neither holds the log back nor makes tiny SSTables.
//!
//! All that recovery would need goes as it is, with its seqs, behind a mark that says that nothing before counts. One
//! append is durable whole or not at all; a manifest names the new place before the old one may be trimmed.

use super::inner::Inner;
use crate::format::{LogBody, LogRecord};
use crate::log::EncodedRecords;
use crate::sync::lock;
use common::ids::Seq;
use common::{Error, Result};
use futures::TryStreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Inner {
    /// Moves on in the log, by a copy if that is enough, else by a flush, unless one is being done. The next round
    /// retries what fails.
    pub(crate) fn move_on(self: &Arc<Self>) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let copied = this.copy_to_tail().await;
            this.busy.store(false, Ordering::Release);
            match copied {
                Ok(true) => this.shared.wake.notify_one(),
                Ok(false) => this.maintain(),
                Err(e) if this.has_ended() => tracing::debug!(tablet = %this.id, error = %e, "the tablet has ended"),
                Err(e) => tracing::warn!(tablet = %this.id, error = %e, "a copy to the log's end failed; it is tried again"),
            }
        });
    }

    /// Copies what is not flushed to the log's end, and moves the manifest's position there. False: it is too much, or
    /// the tablet is being written.
    ///
    /// # Errors
    /// `Fenced`, `NotMine`, `Unavailable`, `Corrupt` if the log is damaged: nothing has changed then.
    pub(crate) async fn copy_to_tail(&self) -> Result<bool> {
        let _one = self.flushing.lock().await;
        self.check_open()?;
        let Some(quiet) = self.quiet() else { return Ok(false) };
        let flushed = self.manifest.lock().await.current().flushed;
        let records = self.unflushed(flushed).await?;
        if records.bytes.len() > self.shared.config.log_copy_bytes {
            return Ok(false);
        }
        if records.count == 1 {
            self.note_position().await?;
            return Ok(true);
        }
        fail::fail_point!("log-copy", |_| Err(Error::unavailable("failpoint: log-copy")));
        let (from, durable) = {
            let numbering = lock(&self.numbering);
            self.check_open()?;
            numbering.check()?;
            if self.quiet() != Some(quiet) {
                return Ok(false);
            }
            (self.shared.log.newest(), self.shared.log.append(records))
        };
        durable.await.map_err(|_| Error::unavailable("the log has ended"))??;
        self.shared.metrics.log_copies.add(1);
        fail::fail_point!("log-copy-done", |_| Err(Error::unavailable("failpoint: log-copy-done")));
        {
            // What was written meanwhile lies behind the copy.
            let mut queue = lock(&self.queue);
            let state = self.state();
            if state.frozen.is_empty() {
                state.active.moved_to(from);
                queue.staged.moved_to(from);
            }
        }
        self.note_position().await?;
        Ok(true)
    }

    /// The last ticket, if all that was numbered has taken effect and little of it is not flushed.
    fn quiet(&self) -> Option<u64> {
        let queue = lock(&self.queue);
        let state = self.state();
        let bytes = state.active.bytes() + queue.staged_weight();
        // Of runs applied and not flushed the stagings would be needed too.
        let derived = self.check_kind(true).is_ok() && !state.active.is_empty();
        let quiet = queue.is_empty() && state.frozen.is_empty() && !derived && bytes <= self.shared.config.log_copy_bytes;
        quiet.then(|| queue.last_ticket())
    }

    /// The records that recovery would need, behind their mark.
    async fn unflushed(&self, flushed: Seq) -> Result<EncodedRecords> {
        let mut needed = EncodedRecords::one(&self.record(Seq::ZERO, Seq::ZERO, LogBody::Restart))?;
        let reader = Arc::new(self.shared.log.reader(self.log_from()));
        let mut records = reader.records((self.id, self.epoch));
        while let Some((_, record)) = records.try_next().await? {
            if self.is_needed(&record, flushed) {
                needed.push(&record)?;
            }
            if needed.bytes.len() > self.shared.config.log_copy_bytes {
                break;
            }
        }
        Ok(needed)
    }

    fn is_needed(&self, record: &LogRecord, flushed: Seq) -> bool {
        match &record.body {
            LogBody::Stage { run, .. } | LogBody::DropStaged { run } => lock(&self.queue).staged.has_run(*run),
            _ => record.last > flushed,
        }
    }
}
