use common::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long rows wait for others to be stored before they are refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// Ingests that take lines at a time, for each processor: one computes while the other's body comes.
const TURNS: usize = 2;
/// Bytes are counted in so many.
const UNIT: usize = 1 << 10;

/// Bounds the rows that a gateway holds and that are not stored yet, over all requests, and the requests that make rows of text
/// at a time. Taken on all at once, requests beyond what can be done would all end late, and together.
#[derive(Debug)]
pub struct Admission {
    turns: Arc<Semaphore>,
    free: Arc<Semaphore>,
    units: usize,
}

impl Admission {
    /// For so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { turns: Arc::new(Semaphore::new(TURNS * processors)), free: Arc::new(Semaphore::new(units)), units }
    }

    /// The right to make rows of text, as long as the permit is; who asks first gets it first.
    ///
    /// # Errors
    /// `ResourceExhausted` if it cannot be had for a second.
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        match tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::exhausted("this gateway is asked for more than it can do: requests wait for more than a second", PATIENCE)),
        }
    }

    /// A turn for a request that has had one before and gave it up: it waits its time, as its body does.
    pub async fn turn_again(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.turns.clone().acquire_owned().await.ok()
    }

    /// The right to hold rows of `bytes`, as long as the permit is. More bytes than there are at all take all.
    ///
    /// # Errors
    /// `ResourceExhausted` if it cannot be had for a second.
    pub async fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        self.admit_beside(bytes, 0).await
    }

    /// The same for a request that has such permits, of so many units together, already: it can take all that there is.
    ///
    /// # Errors
    /// As there.
    pub async fn admit_beside(&self, bytes: usize, held: usize) -> Result<OwnedSemaphorePermit> {
        let units = (bytes / UNIT + 1).min(self.units.saturating_sub(held)) as u32;
        match tokio::time::timeout(PATIENCE, self.free.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                let most = self.units * UNIT;
                Err(Error::exhausted(
                    format!("this gateway holds {most} bytes of rows that are not stored yet: they come faster than they are stored"),
                    PATIENCE,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ErrorKind;

    #[tokio::test]
    async fn who_waits_too_long_for_a_turn_is_refused() {
        let admission = Admission::of(UNIT);
        let mut turns = Vec::new();
        while let Ok(turn) = admission.turns.clone().try_acquire_owned() {
            turns.push(turn);
        }
        let refused = admission.turn().await.unwrap_err();
        assert_eq!((refused.kind, refused.retry_after), (ErrorKind::ResourceExhausted, Some(PATIENCE)));
        turns.pop();
        drop(admission.turn().await.unwrap());
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_until_something_is_stored() {
        let admission = Admission::of(10 * UNIT);
        let large = admission.admit(1 << 30).await.unwrap();
        let refused = admission.admit(1).await.unwrap_err();
        assert_eq!((refused.kind, refused.retry_after), (ErrorKind::ResourceExhausted, Some(PATIENCE)));
        drop(large);
        let _some = admission.admit(5 * UNIT).await.unwrap();
        drop(admission.admit(3 * UNIT).await.unwrap());
        let more = admission.admit_beside(1 << 30, 6).await.unwrap();
        assert_eq!(more.num_permits(), 4, "what one request has in parts is all there is, and not more");
    }
}
