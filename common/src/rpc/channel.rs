//! How every role connects to another one.

use super::net::{Io, SharedNet};
use crate::{Error, Result};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

/// Bytes that one unread response stream may have in flight.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes that all streams of one connection may have in flight: far above any number of unread streams,
/// because a query that waits for one stream while the others fill this window would wait for ever.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// A peer that answers no ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A connection to the role that listens at `address` (`host:port`): made when first used, and again whenever it is lost.
///
/// # Errors
/// `InvalidArgument` if that is not an address.
pub fn lazy(net: &SharedNet, address: &str) -> Result<Channel> {
    Ok(endpoint(address)?.connect_with_connector_lazy(connector(net)))
}

/// A connection to the role that listens at `address`, made now.
///
/// # Errors
/// `InvalidArgument` if that is not an address, `Unavailable` if nobody answers there.
pub async fn connect(net: &SharedNet, address: &str) -> Result<Channel> {
    let made = endpoint(address)?.connect_with_connector(connector(net)).await;
    made.map_err(|e| Error::unavailable(format!("{address} is out of reach: {e}")))
}

fn connector(net: &SharedNet) -> impl Service<Uri, Response = TokioIo<Io>, Error = std::io::Error, Future: Send> + Send + use<> {
    let net = net.clone();
    tower::service_fn(move |to: Uri| {
        let dialled = net.dial(to.authority().map(ToString::to_string).unwrap_or_default());
        async move { dialled.await.map(TokioIo::new) }
    })
}

fn endpoint(address: &str) -> Result<Endpoint> {
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|e| Error::invalid(format!("'{address}' is not host:port: {e}")))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}
