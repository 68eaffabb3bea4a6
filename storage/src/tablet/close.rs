//! Giving a tablet up in good order.

use super::inner::{Inner, Status};
use crate::format::LogBody;
use crate::log::EncodedRecords;
use crate::sync::{lock, read, write};
use common::ids::Seq;
use common::{Error, Result};

impl Inner {
    /// Refuses writes, waits for those in flight, flushes, then refuses everything. Compactions are given up: the next owner
    /// begins them anew, writers need not wait for them.
    pub(crate) async fn close(&self) -> Result<()> {
        if !self.begin_closing() {
            return Ok(());
        }
        // An ingest that writes now is waited for; later ones find it closing.
        drop(self.building.write().await);
        self.drain().await;
        self.flush().await?;
        fail::fail_point!("close-flushed", |_| Err(Error::unavailable("failpoint: close-flushed")));
        let _compacting = self.compacting.write().await;
        if let Some(farewell) = self.farewell()? {
            self.shared.log.append(farewell).await.map_err(|_| Error::unavailable("the log has ended"))??;
        }
        self.end(Error::not_mine(format!("tablet {} is closed here", self.id)));
        Ok(())
    }

    /// What the log keeps of a closed tablet: the requests that are remembered, so that nobody has to read all of it for them.
    /// `None` if the log takes nothing more.
    fn farewell(&self) -> Result<Option<EncodedRecords>> {
        let numbering = lock(&self.numbering);
        if numbering.broken.is_some() {
            return Ok(None);
        }
        let mut records = EncodedRecords::default();
        let remembered = numbering.requests.remembered(self.shared.config.clock.monotonic());
        records.push(&self.record(Seq::ZERO, Seq::ZERO, LogBody::Requests(remembered)))?;
        records.push(&self.record(Seq::ZERO, Seq::ZERO, LogBody::ClosedTablet))?;
        Ok(Some(records))
    }

    /// False if it has ended already.
    fn begin_closing(&self) -> bool {
        // Whoever numbers checks the status under this lock, so nothing is numbered after.
        let _numbering = lock(&self.numbering);
        let mut status = write(&self.status);
        match *status {
            Status::Open | Status::Closing => {
                *status = Status::Closing;
                self.leaving.notify_waiters();
                true
            }
            Status::Ended(_) => false,
        }
    }

    /// Whether it takes no more writes but still serves.
    pub(super) fn is_closing(&self) -> bool {
        matches!(*read(&self.status), Status::Closing)
    }

    /// Waits until the tablet closes.
    pub(super) async fn until_leaving(&self) {
        let leaving = self.leaving.notified();
        tokio::pin!(leaving);
        // Before the look: who begins to close after it is heard.
        leaving.as_mut().enable();
        if matches!(*read(&self.status), Status::Open) {
            leaving.await;
        }
    }

    /// Waits until what was numbered has taken effect or failed.
    pub(super) async fn drain(&self) {
        let mut changes = self.visible.subscribe();
        while !lock(&self.queue).is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The first log segment that its staged rows need, if it has some.
    pub(crate) fn holds_log(&self) -> Option<u64> {
        let needed = lock(&self.queue).log_from();
        (needed != u64::MAX).then_some(needed)
    }

    /// Stops taking writes and waits for those in flight: what is not flushed stays in the log.
    pub(crate) async fn stop(&self) {
        if self.begin_closing() {
            self.drain().await;
            self.end(Error::not_mine(format!("the server of tablet {} is shutting down", self.id)));
        }
    }
}
