//! How every role connects to another one.

use crate::{Error, Result};
use std::time::Duration;
use tonic::transport::Endpoint;

/// Bytes that one unread response stream may have in flight.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes that all streams of one connection may have in flight: far above any number of unread streams,
/// because a query that waits for one stream while the others fill this window would wait for ever.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// A peer that answers no ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The endpoint of the role that listens at `address` (`host:port`).
///
/// # Errors
/// `InvalidArgument` if that is not an address.
pub fn endpoint(address: &str) -> Result<Endpoint> {
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
