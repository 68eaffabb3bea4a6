use super::process::REQUEST_TIMEOUT;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::runtime::Runtime;

/// A blocking client of a gateway.
pub struct Http {
    base: String,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Http {
    /// A client of the gateway at `base`.
    pub fn new(base: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build().unwrap();
        Self { base: base.to_owned(), client, runtime }
    }

    /// One request; the status and the body, or why there was no answer.
    pub fn request(&self, method: Method, path: &str, accept: &str, body: Option<(&str, Vec<u8>)>) -> Result<(u16, String), String> {
        self.runtime.block_on(async {
            let mut request = self.client.request(method, format!("{}{path}", self.base)).header("accept", accept);
            if let Some((kind, bytes)) = body {
                request = request.header("content-type", kind).body(bytes);
            }
            let response = request.send().await.map_err(|e| format!("{e:?}"))?;
            let status = response.status().as_u16();
            Ok((status, response.text().await.map_err(|e| format!("{e:?}"))?))
        })
    }

    /// `GET` with a JSON answer; fails the test on any other status than 200.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.request(Method::GET, path, "application/json", None).unwrap();
        assert_eq!(status, 200, "GET {path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// `GET`; the status and the answer.
    pub fn try_get(&self, path: &str) -> Result<(u16, Value), String> {
        let (status, text) = self.request(Method::GET, path, "application/json", None)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// `POST` of JSON; the status and the answer.
    pub fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), String> {
        let bytes = serde_json::to_vec(body).unwrap();
        let (status, text) = self.request(Method::POST, path, "application/json", Some(("application/json", bytes)))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// `DELETE`; the status.
    pub fn delete(&self, path: &str) -> u16 {
        self.request(Method::DELETE, path, "application/json", None).unwrap().0
    }

    /// Sends NDJSON lines; whether the gateway acknowledged every row.
    pub fn ingest(&self, table: &str, lines: &str) -> Result<(u16, Value), String> {
        let body = Some(("application/x-ndjson", lines.as_bytes().to_vec()));
        let (status, text) = self.request(Method::POST, &format!("/v1/tables/{table}/ingest"), "application/json", body)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Sends a body of a type, to be answered within so many seconds; status, headers and body of the answer.
    pub fn post_within(&self, path: &str, (kind, body): (&str, &str), seconds: u32) -> Result<(u16, HeaderMap, String), String> {
        self.runtime.block_on(async {
            let request = self.client.post(format!("{}{path}", self.base)).header("content-type", kind);
            let response = request.header("stele-timeout", seconds).body(body.to_owned()).send().await.map_err(|e| format!("{e:?}"))?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok((status, headers, response.text().await.map_err(|e| format!("{e:?}"))?))
        })
    }

    /// The rows of a query as JSON objects.
    pub fn try_sql(&self, query: &str) -> Result<Vec<Value>, String> {
        let body = serde_json::to_vec(&serde_json::json!({ "query": query })).unwrap();
        let (status, text) = self.request(Method::POST, "/v1/sql", "application/x-ndjson", Some(("application/json", body)))?;
        if status != 200 {
            return Err(format!("{status}: {text}"));
        }
        text.lines().map(|line| serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))).collect()
    }

    /// The rows of a query; fails the test if it fails.
    #[track_caller]
    pub fn sql(&self, query: &str) -> Vec<Value> {
        self.try_sql(query).unwrap_or_else(|e| panic!("{query}: {e}"))
    }

    /// The only value of a query.
    #[track_caller]
    pub fn number(&self, query: &str) -> u64 {
        let rows = self.sql(query);
        let value = rows[0].as_object().unwrap().values().next().unwrap();
        value.as_u64().unwrap_or_else(|| panic!("{query}: {value}"))
    }
}
