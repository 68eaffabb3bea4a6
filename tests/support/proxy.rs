//! HTTP servers between Stele and its object store: one that passes requests on and can be made slow or failing, and one
//! that is a store which ignores conditions.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Bytes of a request or an answer at most.
const MOST_BYTES: usize = 256 << 20;

/// How the store behind a proxy seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Fine,
    /// 503 to everything, without effect.
    Failing,
    /// Every answer comes this much later; what was asked for takes effect.
    Slow(Duration),
}

/// Passes requests on as its mood is. Ends when dropped.
pub struct Proxy {
    mood: Arc<Mutex<Mood>>,
    address: SocketAddr,
    _runtime: Runtime,
}

#[derive(Clone)]
struct Upstream {
    base: String,
    client: reqwest::Client,
    mood: Arc<Mutex<Mood>>,
}

impl Proxy {
    /// In front of the server at `base`, for example `http://127.0.0.1:9000`.
    pub fn start(base: &str) -> Self {
        let mood = Arc::new(Mutex::new(Mood::Fine));
        let upstream = Upstream { base: base.to_owned(), client: reqwest::Client::new(), mood: mood.clone() };
        let (address, runtime) = serve(axum::Router::new().fallback(pass_on).with_state(upstream));
        Self { mood, address, _runtime: runtime }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For all requests from now on.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

async fn pass_on(State(upstream): State<Upstream>, request: Request) -> Response {
    let mood = *upstream.mood.lock().unwrap();
    if mood == Mood::Failing {
        return (StatusCode::SERVICE_UNAVAILABLE, "<Error><Code>SlowDown</Code></Error>").into_response();
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
    let mut headers = head.headers;
    // They belong to this hop; the length is known anew.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let Ok(body) = to_bytes(body, MOST_BYTES).await else { return StatusCode::BAD_REQUEST.into_response() };
    let request = upstream.client.request(head.method, format!("{}{path}", upstream.base)).headers(headers).body(body);
    // What has arrived takes effect, whether its sender waits for the answer or not.
    let passed = tokio::spawn(request.send());
    if let Mood::Slow(delay) = mood {
        tokio::time::sleep(delay).await;
    }
    match passed.await {
        Ok(Ok(answer)) => back(answer).await,
        _ => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn back(answer: reqwest::Response) -> Response {
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONNECTION);
    (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
}

/// An S3 that answers 200 to every put, whatever its condition, as some real ones do. It knows puts, gets and deletes.
pub struct CarelessS3 {
    address: SocketAddr,
    _runtime: Runtime,
}

type Objects = Arc<Mutex<HashMap<String, Bytes>>>;

impl CarelessS3 {
    /// Empty, with every bucket.
    pub fn start() -> Self {
        let (address, runtime) = serve(axum::Router::new().fallback(careless).with_state(Objects::default()));
        Self { address, _runtime: runtime }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn careless(State(objects): State<Objects>, request: Request) -> Response {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let body = to_bytes(request.into_body(), MOST_BYTES).await.unwrap_or_default();
    let mut objects = objects.lock().unwrap();
    let mut found = HeaderMap::new();
    found.insert(header::ETAG, "\"1\"".parse().unwrap());
    found.insert(header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
    match method {
        Method::PUT => {
            objects.insert(path, body);
            (StatusCode::OK, found).into_response()
        }
        Method::DELETE => {
            objects.remove(&path);
            StatusCode::NO_CONTENT.into_response()
        }
        // Several objects at once.
        Method::POST => {
            let text = String::from_utf8_lossy(&body).into_owned();
            let keys: Vec<&str> = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
            objects.retain(|path, _| !keys.iter().any(|key| path.ends_with(key)));
            let gone: String = keys.iter().map(|key| format!("<Deleted><Key>{key}</Key></Deleted>")).collect();
            (StatusCode::OK, format!("<DeleteResult>{gone}</DeleteResult>")).into_response()
        }
        _ => match objects.get(&path) {
            Some(bytes) => (StatusCode::OK, found, bytes.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn serve(router: axum::Router) -> (SocketAddr, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
    (address, runtime)
}
