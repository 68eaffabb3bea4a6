//! How long a request to a cloud store may take, by what it does.
//!
//! One bound for a whole request would be too long for a small one, whose answer a lease waits for, or too short for a
//! part of an SSTable on a slow line. So the bounds are on silence: an answer must begin within [`SILENCE`] plus the time
//! that the sent bytes take at [`SLOWEST`], and its bytes may pause for [`SILENCE`]. Whoever has less time (the log,
//! registers) puts a bound of its own around the request.

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A store that says nothing for this long is not waited for.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// Bytes a second at which a sent body gets through on the slowest line that is waited for.
const SLOWEST: u64 = 1 << 20;

/// Makes HTTP clients that give up requests as the module's page says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paced {
    silence: Duration,
}

impl Default for Paced {
    fn default() -> Self {
        Self { silence: SILENCE }
    }
}

impl Paced {
    /// How long a request with so many bytes may go without an answer.
    fn allowed(self, bytes: usize) -> Duration {
        self.silence + Duration::from_millis(bytes as u64 * 1000 / SLOWEST)
    }
}

impl HttpConnector for Paced {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(PacedClient { pace: *self, inner: ReqwestConnector::default().connect(options)? }))
    }
}

#[derive(Debug)]
struct PacedClient {
    pace: Paced,
    inner: HttpClient,
}

#[async_trait]
impl HttpService for PacedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (silence, allowed) = (self.pace.silence, self.pace.allowed(request.body().content_length()));
        let answered = tokio::time::timeout(allowed, self.inner.execute(request)).await;
        let (head, body) = answered.map_err(|_| silent(allowed))??.into_parts();
        let paced = PacedBody { body, silence, sleep: Box::pin(tokio::time::sleep(silence)) };
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(paced)))
    }
}

/// The store has said nothing for this long.
#[derive(Debug)]
struct Silent(Duration);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the object store has said nothing for {} ms", self.0.as_millis())
    }
}

impl std::error::Error for Silent {}

fn silent(waited: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Silent(waited))
}

/// An answer whose bytes must keep coming.
struct PacedBody {
    body: HttpResponseBody,
    silence: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            // A reader that pauses between two frames is not the store's silence.
            let until = Instant::now() + self.silence;
            self.sleep.as_mut().reset(until);
            return Poll::Ready(frame);
        }
        std::task::ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(silent(self.silence))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::future::pending;

    /// Answers never, or begins to.
    #[derive(Debug)]
    struct Stuck {
        answers: bool,
    }

    struct HalfBody(Option<Bytes>);

    impl Body for HalfBody {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    #[async_trait]
    impl HttpService for Stuck {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            if !self.answers {
                pending::<()>().await;
            }
            Ok(HttpResponse::new(HttpResponseBody::new(HalfBody(Some(Bytes::from_static(b"half"))))))
        }
    }

    fn client(answers: bool) -> PacedClient {
        PacedClient { pace: Paced { silence: Duration::from_millis(5) }, inner: HttpClient::new(Stuck { answers }) }
    }

    #[tokio::test]
    async fn a_silent_store_is_given_up() {
        let e = client(false).call(HttpRequest::new(vec![0; 9].into())).await.unwrap_err();
        assert_eq!(e.kind(), HttpErrorKind::Timeout);
    }

    #[tokio::test]
    async fn an_answer_that_stops_in_the_middle_is_given_up() {
        let answer = client(true).call(HttpRequest::new(vec![].into())).await.unwrap();
        let mut body = answer.into_body().bytes_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "half");
        let e = body.next().await.unwrap().unwrap_err();
        assert_eq!(e.kind(), HttpErrorKind::Timeout);
    }

    #[test]
    fn more_bytes_may_take_longer() {
        assert_eq!([0, 16 << 20].map(|bytes| Paced::default().allowed(bytes).as_secs()), [5, 21]);
    }
}
