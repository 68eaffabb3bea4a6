use super::problem::Refused;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use common::Error;
use std::time::Duration;

/// How long the sender of a request waits for its answer, in seconds. The answer begins within this time, or is that it
/// does not.
pub const TIMEOUT: &str = "stele-timeout";
/// Nobody waits longer.
const LONGEST: f64 = 3600.0;

/// Answers 504 to a request that is not answered within the time that it gives; what it waits for is given up.
pub async fn within(request: Request, next: Next) -> Response {
    let Some(given) = request.headers().get(TIMEOUT) else { return next.run(request).await };
    let allowed = given.to_str().ok().and_then(|text| text.parse::<f64>().ok()).filter(|s| *s > 0.0 && *s <= LONGEST);
    let Some(seconds) = allowed else {
        return Refused(Error::invalid(format!("header {TIMEOUT}: write seconds above 0 and up to {LONGEST}, such as 2.5")))
            .into_response();
    };
    match tokio::time::timeout(Duration::from_secs_f64(seconds), next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => {
            let text = format!("there is no answer within the {seconds} s of {TIMEOUT}: what was to be written may be there or not");
            Refused(Error::deadline(text)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn status(path: &str, timeout: Option<&str>) -> StatusCode {
        let router = Router::new()
            .route("/stuck", get(async || std::future::pending::<()>().await))
            .route("/quick", get(async || "done"))
            .layer(axum::middleware::from_fn(within));
        let mut request = Request::get(path);
        if let Some(timeout) = timeout {
            request = request.header(TIMEOUT, timeout);
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_request_is_answered_within_its_time() {
        assert_eq!(status("/stuck", Some("0.01")).await, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(status("/quick", Some("60")).await, StatusCode::OK);
        assert_eq!(status("/quick", None).await, StatusCode::OK);
        for wrong in ["soon", "0", "-1", "NaN", "1e9"] {
            assert_eq!(status("/quick", Some(wrong)).await, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
