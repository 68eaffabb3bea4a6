use reqwest::{Response, StatusCode};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// The part of a problem document that people read.
#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

/// What the gateway answered instead of a success.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status.
    pub status: StatusCode,
    /// Its sentence.
    pub message: String,
    /// From `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

/// Reads an answer that is not a success.
pub async fn refusal(response: Response) -> Refused {
    let (status, url) = (response.status(), response.url().clone());
    let seconds = response.headers().get(reqwest::header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
    let body = response.text().await.unwrap_or_default();
    let message =
        message(&body).unwrap_or_else(|| format!("{url} answered {status}: {}", body.trim().chars().take(200).collect::<String>()));
    Refused { status, message, retry_after: seconds.map(Duration::from_secs_f64) }
}

fn message(body: &str) -> Option<String> {
    let problem: Problem = serde_json::from_str(body).ok()?;
    problem.detail.or(problem.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_is_the_message() {
        assert_eq!(message(r#"{"title": "not found", "detail": "no table 'a.b'", "status": 404}"#).unwrap(), "no table 'a.b'");
        assert_eq!(message(r#"{"title": "not found"}"#).unwrap(), "not found");
        assert_eq!(message("<html>"), None);
    }
}
