use crate::bigtable;
use crate::cluster::Cluster;
use crate::rest::{App, router};
use crate::runner::Runner;
use crate::sql::Sql;
use crate::writes::Admission;
use axum::serve::ListenerExt;
use common::config::GatewayConfig;
use common::surroundings::Surroundings;
use common::time::SharedClock;
use common::{Error, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long requests under way may take to end.
const DRAIN: Duration = Duration::from_secs(20);
/// How long the runner may take to give its claims back; they expire else.
const END_RUNS: Duration = Duration::from_secs(5);

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
    /// Stops when dropped.
    runner: Option<Arc<Runner>>,
}

impl Gateway {
    /// Connects to the cluster, listens for REST and the Bigtable API and, if the configuration says so, runs derived tables.
    ///
    /// # Errors
    /// `Unavailable` if no master answers within 30 s or the address is taken.
    pub async fn start(config: GatewayConfig, clock: SharedClock) -> Result<Self> {
        let hedge_after = config.hedge_reads_after_ms.map(Duration::from_millis);
        let cluster = Cluster::connect_in(&config.masters, &Surroundings::machine(clock), hedge_after).await?;
        let sql = Sql::new(cluster.clone())?;
        let unable = |e| Error::unavailable(format!("cannot listen on {}: {e}", config.listen));
        let listener = TcpListener::bind(config.listen).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let name = config.name.unwrap_or_else(|| address.to_string());
        let runner = config.runs.then(|| Runner::start(cluster.clone(), sql.clone(), name));
        let admission = Arc::new(Admission::of(config.write_buffer_bytes));
        let grpc = bigtable::routes(cluster.clone(), admission.clone());
        let rest = router(Arc::new(App { cluster, sql, runner: runner.clone(), admission }));
        let stop = CancellationToken::new();
        // An answer of several small pieces must not wait for its first one to be confirmed. A socket that refuses is slower.
        let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
        let server = axum::serve(listener, rest.merge(grpc)).with_graceful_shutdown(stop.clone().cancelled_owned());
        let server = tokio::spawn(server.into_future());
        Ok(Self { address, stop, server, runner })
    }

    /// Where it listens, for HTTP/1.1 and HTTP/2.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The runner of derived tables, if it has one.
    #[must_use]
    pub fn runner(&self) -> Option<&Arc<Runner>> {
        self.runner.as_ref()
    }

    /// Takes no more connections and requests, ends those under way, twenty seconds long, and stops.
    ///
    /// # Errors
    /// `Internal` if the server had failed before.
    pub async fn shutdown(self) -> Result<()> {
        self.stop.cancel();
        if let Some(runner) = &self.runner
            && tokio::time::timeout(END_RUNS, runner.stop()).await.is_err()
        {
            tracing::warn!("claimed windows could not be given back; their claims expire");
        }
        let abort = self.server.abort_handle();
        match tokio::time::timeout(DRAIN, self.server).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(e))) => Err(Error::internal(format!("the HTTP server failed: {e}"))),
            Ok(Err(e)) => Err(Error::internal(format!("the HTTP server ended: {e}"))),
            // A client that holds its request open cannot hold the process.
            Err(_) => {
                tracing::warn!("requests that have not ended for {} s are cut off", DRAIN.as_secs());
                abort.abort();
                Ok(())
            }
        }
    }
}
