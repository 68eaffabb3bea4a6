//! The REST client of every command.

mod problem;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use clap::Args;
use futures::StreamExt;
use problem::refusal;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::time::Duration;

pub use problem::Refused;

/// NDJSON, one row a line.
pub const NDJSON: &str = "application/x-ndjson";
/// An Arrow IPC stream.
pub const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Where the gateway is.
#[derive(Clone, Debug, Args)]
pub struct UrlArgs {
    /// The gateway's address.
    #[arg(long, env = "STELE_URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub url: String,
}

/// A gateway, over HTTP.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of the gateway at `url`; connects at the first request.
    pub fn new(url: &str) -> Result<Self> {
        let base = Url::parse(url).with_context(|| format!("--url '{url}' is not a URL: write http://host:port"))?;
        anyhow::ensure!(base.scheme() == "http" && base.has_host(), "--url '{url}': write http://host:port");
        // A query may compute long before its first byte; a read timeout still ends a dead connection.
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(600))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { http, base })
    }

    /// The gateway's address, without a slash at its end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// A request of `path` segments under `/v1`; each segment is escaped.
    pub fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        self.http.request(method, url)
    }

    /// Sends, and refuses an answer that is not a success with what the gateway said.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await.into()) }
    }

    /// Sends and decodes the JSON answer.
    pub async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let response = self.send(request).await?;
        let url = response.url().clone();
        let body = response.bytes().await.with_context(|| format!("{url}: the answer broke off"))?;
        serde_json::from_slice(&body).with_context(|| format!("{url}: an answer of another shape than expected"))
    }

    /// `GET`, decoded.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        self.json(self.request(Method::GET, path)).await
    }

    /// `POST` or `PUT` of a JSON body, decoded.
    pub async fn put_json<T: DeserializeOwned>(&self, method: Method, path: &[&str], body: &impl Serialize) -> Result<T> {
        self.json(self.request(method, path).json(body)).await
    }

    /// A request whose answer does not matter.
    pub async fn done(&self, request: RequestBuilder) -> Result<()> {
        self.send(request).await.map(drop)
    }

    /// Runs a query; the answer comes as `accept` says.
    pub async fn sql(&self, query: &str, accept: &str) -> Result<Response> {
        let body = serde_json::json!({ "query": query });
        self.send(self.request(Method::POST, &["sql"]).header(reqwest::header::ACCEPT, accept).json(&body)).await
    }

    fn unreachable(&self, e: &reqwest::Error) -> anyhow::Error {
        if e.is_connect() {
            let base = self.base();
            return anyhow::Error::new(Unreachable { base: base.to_owned() });
        }
        // The outer sentence only repeats the URL; the cause says what happened.
        let cause = std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string);
        anyhow!("the request to {} failed: {cause}", self.base())
    }
}

/// Writes an answer to stdout as it comes.
pub async fn pipe(response: Response) -> Result<()> {
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk: Bytes = chunk.context("the answer broke off")?;
        std::io::stdout().lock().write_all(&chunk)?;
    }
    Ok(std::io::stdout().lock().flush()?)
}

/// No gateway answers.
#[derive(Debug)]
pub struct Unreachable {
    base: String,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no gateway answers at {}: start one with `stele up`, or give its address with --url or STELE_URL", self.base)
    }
}

impl std::error::Error for Unreachable {}

/// Whether the same request may be sent again, and after how long.
pub fn retry_after(e: &anyhow::Error) -> Option<Duration> {
    let refused = e.downcast_ref::<Refused>()?;
    let again = matches!(refused.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    again.then(|| refused.retry_after.unwrap_or(Duration::from_millis(200)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped_and_wrong_urls_refused() {
        let client = Client::new("http://localhost:1").unwrap();
        let request = client.request(Method::GET, &["tables", "a b/c", "rows"]).build().unwrap();
        assert_eq!(request.url().as_str(), "http://localhost:1/v1/tables/a%20b%2Fc/rows");
        assert!(Client::new("localhost:8080").is_err());
        assert!(Client::new("ftp://x").is_err());
    }
}
