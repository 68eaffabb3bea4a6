use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::{Error, ErrorKind};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Media type of [`Problem`].
pub const PROBLEM: &str = "application/problem+json";
/// Text of a foreign error that is taken over at most.
const FOREIGN_BYTES: usize = 4096;

/// Why a request was refused (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `kind` tells problems apart.
    #[serde(rename = "type")]
    pub about: &'static str,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, with which value, what to do.
    pub detail: String,
    /// What the caller should do next depends on this alone.
    #[schema(value_type = String, example = "invalid_argument")]
    pub kind: ErrorKind,
    /// Seconds to wait before the same request is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
}

/// An error as HTTP answers it.
#[derive(Clone, Debug)]
pub struct Refused(pub Error);

impl From<Error> for Refused {
    fn from(e: Error) -> Self {
        Self(e)
    }
}

impl Problem {
    /// The problem document of an error.
    #[must_use]
    pub fn of(e: &Error) -> Self {
        let row = e.kind.row();
        Self {
            about: "about:blank",
            title: row.title.to_owned(),
            status: row.http,
            detail: e.message.clone(),
            kind: e.kind,
            retry_after: retry_after(e).map(|d| d.as_secs_f64()),
        }
    }
}

/// How long to wait before the same request is sent again, where that may help.
fn retry_after(e: &Error) -> Option<Duration> {
    e.retry_after.or((e.is_retryable() || e.kind == ErrorKind::Unavailable).then_some(Duration::from_secs(1)))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        response(&Problem::of(&self.0))
    }
}

fn response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::warn!(kind = ?problem.kind, detail = %problem.detail, "request failed");
    }
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (status, [(CONTENT_TYPE, PROBLEM)], body).into_response();
    if let Some(wait) = problem.retry_after {
        // The header counts whole seconds.
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.ceil().max(1.0) as u64));
    }
    response
}

/// Makes a problem document of every error answer that is none yet: unknown paths, wrong methods, refused bodies.
pub async fn normalise(answer: Response) -> Response {
    let status = answer.status();
    let is_problem = answer.headers().get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(PROBLEM.as_bytes()));
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let text = to_bytes(body, FOREIGN_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let kind = match status {
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        s if s.is_server_error() => ErrorKind::Internal,
        _ => ErrorKind::InvalidArgument,
    };
    let title = status.canonical_reason().unwrap_or("error").to_lowercase();
    let detail = match status {
        _ if !text.is_empty() => text,
        StatusCode::NOT_FOUND => "there is nothing at this path: see /docs".into(),
        StatusCode::METHOD_NOT_ALLOWED => "this path does not take this method: see /docs".into(),
        _ => title.clone(),
    };
    let mut out = response(&Problem { about: "about:blank", title, status: status.as_u16(), detail, kind, retry_after: None });
    // What a method is refused with says which are allowed.
    let allow = parts.headers.get(axum::http::header::ALLOW).cloned();
    out.headers_mut().extend(allow.map(|a| (axum::http::header::ALLOW, a)));
    out
}

/// A refusal as one row's part of a larger answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RowProblem {
    /// See [`Problem::kind`].
    #[schema(value_type = String, example = "invalid_argument")]
    pub kind: ErrorKind,
    /// See [`Problem::detail`].
    pub detail: String,
}

impl From<Error> for RowProblem {
    fn from(e: Error) -> Self {
        Self { kind: e.kind, detail: e.message }
    }
}

/// An empty answer of a status.
pub fn no_content() -> Response {
    (StatusCode::NO_CONTENT, Body::empty()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> serde_json::Value {
        serde_json::from_slice(&to_bytes(response.into_body(), 1 << 16).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_error_becomes_a_problem_document() {
        let response = Refused(Error::exhausted("slow down", Duration::from_millis(250))).into_response();
        assert_eq!((response.status(), &response.headers()[RETRY_AFTER]), (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from(1)));
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM);
        let body = body(response).await;
        assert_eq!(body["kind"], "resource_exhausted");
        assert_eq!((&body["detail"], &body["retry_after"], &body["status"]), (&"slow down".into(), &0.25.into(), &429.into()));
        let response = Refused(Error::not_found("x")).into_response();
        assert!(response.headers().get(RETRY_AFTER).is_none());
    }

    #[tokio::test]
    async fn foreign_errors_become_problem_documents() {
        let foreign = normalise((StatusCode::PAYLOAD_TOO_LARGE, "length limit exceeded").into_response()).await;
        assert_eq!(foreign.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let body = body(foreign).await;
        assert_eq!((&body["detail"], &body["kind"]), (&"length limit exceeded".into(), &"invalid_argument".into()));
        let fine = normalise((StatusCode::OK, "text").into_response()).await;
        assert!(fine.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
    }
}
