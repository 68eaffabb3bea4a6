use super::status;
use crate::writes::Admission;
use axum::body::Body;
use bytes::Bytes;
use futures::stream::try_unfold;
use futures::{Stream, TryStreamExt};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

/// The right to hold what has come of a request; given back when dropped.
#[derive(Default)]
pub struct Held(Mutex<Option<OwnedSemaphorePermit>>);

impl Held {
    fn units(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&self, more: OwnedSemaphorePermit) {
        // A panic elsewhere leaves permits whole.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
    }
}

/// A request's body as there is room for it: a message is held whole, so its sender is slowed down, and after a second refused,
/// before it is too much.
pub fn admitted(body: Body, admission: Arc<Admission>, held: Arc<Held>) -> Body {
    let pieces = body.into_data_stream().map_err(|e| Status::cancelled(format!("the request broke off: {e}")));
    Body::from_stream(taken(pieces, admission, held))
}

fn taken(
    pieces: impl Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
    admission: Arc<Admission>,
    held: Arc<Held>,
) -> impl Stream<Item = Result<Bytes, Status>> + Send + 'static {
    try_unfold((pieces, admission, held), |(mut pieces, admission, held)| async move {
        let Some(piece) = pieces.try_next().await? else { return Ok(None) };
        held.add(admission.admit_beside(piece.len(), held.units()).await.map_err(|e| status::of_call(&e))?);
        Ok(Some((piece, (pieces, admission, held))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};
    use tonic::Code;

    #[tokio::test(start_paused = true)]
    async fn a_body_comes_as_far_as_there_is_room() {
        let admission = Arc::new(Admission::of(10 << 10));
        let other = admission.admit(0).await.unwrap();
        let pieces = || stream::iter((0..3).map(|_| Ok(Bytes::from(vec![7; 4000])))).boxed();
        let held = Arc::new(Held::default());
        let mut taken = Box::pin(super::taken(pieces(), admission.clone(), held.clone()));
        for _ in 0..2 {
            assert_eq!(taken.next().await.unwrap().unwrap().len(), 4000);
        }
        let refused = taken.next().await.unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(!refused.details().is_empty(), "it says when to come again");

        drop((taken, held, other));
        let held = Arc::new(Held::default());
        let all: Vec<_> = super::taken(pieces(), admission, held).collect().await;
        assert!(all.len() == 3 && all.iter().all(Result::is_ok), "one alone may be larger than all the room");
    }
}
