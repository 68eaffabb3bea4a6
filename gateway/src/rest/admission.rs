use common::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long rows wait for others to be stored before they are refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes are counted in so many.
const UNIT: usize = 1 << 10;

/// Bounds the rows that a gateway holds and that are not stored yet, over all requests.
#[derive(Debug)]
pub struct Admission {
    free: Arc<Semaphore>,
    units: usize,
}

impl Admission {
    /// For so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    /// The right to hold rows of `bytes`, as long as the permit is. More bytes than there are at all take all.
    ///
    /// # Errors
    /// `ResourceExhausted` if it cannot be had for a second.
    pub async fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let units = (bytes / UNIT + 1).min(self.units) as u32;
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
    async fn what_does_not_fit_is_refused_until_something_is_stored() {
        let admission = Admission::of(10 * UNIT);
        let large = admission.admit(1 << 30).await.unwrap();
        let refused = admission.admit(1).await.unwrap_err();
        assert_eq!((refused.kind, refused.retry_after), (ErrorKind::ResourceExhausted, Some(PATIENCE)));
        drop(large);
        let _some = admission.admit(5 * UNIT).await.unwrap();
        drop(admission.admit(3 * UNIT).await.unwrap());
    }
}
