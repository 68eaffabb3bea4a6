//! What handlers take from a request and how they stream an answer.

use super::problem::Refused;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use common::{Error, Result, limits};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;

/// NDJSON: one JSON object a line.
pub const NDJSON: &str = "application/x-ndjson";
/// JSON.
pub const JSON: &str = "application/json";

/// A JSON body, whatever its content type says.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let most = limits::MAX_RPC_MESSAGE_BYTES;
        let body = to_bytes(request.into_body(), most).await;
        let body = body.map_err(|e| Error::invalid(format!("the body cannot be read: {e} (at most {most} bytes are allowed)")))?;
        let parsed = serde_json::from_slice(&body);
        Ok(Self(parsed.map_err(|e| Error::invalid(format!("the body is not the JSON that is expected: {e}")))?))
    }
}

/// The query's parameters in order.
pub struct Params(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let query = query.map_err(|e| Error::invalid(format!("the query cannot be read: {e}")))?;
        Ok(Self(query.0))
    }
}

impl Params {
    /// The value of a parameter; later ones of its name count.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Refuses what is not among `known`.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(n, _)| !known.contains(&n.as_str())) {
            Some((unknown, _)) => Err(Error::invalid(format!("unknown parameter '{unknown}': this takes {}", known.join(", ")))),
            None => Ok(()),
        }
    }
}

/// The first of `offered` that the client accepts, by the order in which it names them; the first of all if it does not care.
pub fn accepted<'a>(headers: &HeaderMap, offered: &[&'a str]) -> Result<&'a str> {
    let wanted = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let wanted: Vec<_> = wanted.map(|w| w.split(';').next().unwrap_or_default().trim()).filter(|w| !w.is_empty()).collect();
    let matches = |wanted: &str, offered: &str| {
        wanted == "*/*" || wanted.eq_ignore_ascii_case(offered) || wanted.strip_suffix("/*").is_some_and(|kind| offered.starts_with(kind))
    };
    let found = wanted.iter().find_map(|w| offered.iter().find(|o| matches(w, o)).copied());
    match found {
        Some(found) => Ok(found),
        None if wanted.is_empty() => Ok(offered[0]),
        None => Err(Error::invalid(format!("this answers {}; not {}", offered.join(", "), wanted.join(", ")))),
    }
}

/// An answer that is sent as it is made. An error before its first piece is a problem document; a later one cuts the
/// answer off, which every client notices.
pub async fn streamed(kind: &'static str, pieces: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Result<Response, Refused> {
    let mut pieces = Box::pin(pieces.try_filter(|p| std::future::ready(!p.is_empty())));
    let first = pieces.next().await.transpose()?;
    let rest = stream::iter(first.map(Ok)).chain(pieces.inspect(|p| {
        if let Err(e) = p {
            tracing::warn!(error = %e, "an answer was cut off");
        }
    }));
    Ok(([(CONTENT_TYPE, kind)], Body::from_stream(rest)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, value.parse().unwrap())])
    }

    #[test]
    fn the_clients_order_counts() {
        let offered = [JSON, NDJSON];
        assert_eq!(accepted(&HeaderMap::new(), &offered).unwrap(), JSON);
        assert_eq!(accepted(&accept("application/x-ndjson, application/json;q=0.5"), &offered).unwrap(), NDJSON);
        assert_eq!(accepted(&accept("text/html, */*"), &offered).unwrap(), JSON);
        assert_eq!(accepted(&accept("application/*"), &offered).unwrap(), JSON);
        assert!(accepted(&accept("image/png"), &offered).unwrap_err().message.contains("image/png"));
    }
}
