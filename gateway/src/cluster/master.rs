use super::channels::Channels;
use super::patience::Patience;
use super::view::View;
use common::catalog::CatalogChanges;
use common::rpc::Json;
use common::rpc::master::{Command, Reply, WatchRequest};
use common::{Error, ErrorKind, Result};
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tonic::Status;

/// How long a leader is looked for.
const SUBMIT: Duration = Duration::from_secs(10);
/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Sends commands to whichever master leads.
#[derive(Clone, Debug)]
pub(super) struct MasterClient {
    addresses: Arc<[String]>,
    /// Index of the master that last answered as leader.
    leader: Arc<AtomicUsize>,
    channels: Channels,
}

impl MasterClient {
    pub(super) fn new(addresses: &[String], channels: &Channels) -> Result<Self> {
        if addresses.is_empty() {
            return Err(Error::invalid("no master address given: write host:port"));
        }
        for address in addresses {
            channels.master(address)?;
        }
        Ok(Self { addresses: addresses.into(), leader: Arc::default(), channels: channels.clone() })
    }

    fn current(&self) -> (usize, &str) {
        let at = self.leader.load(Ordering::Relaxed) % self.addresses.len();
        (at, &self.addresses[at])
    }

    /// Takes another master next time, unless somebody has moved on from this one already.
    fn leave(&self, at: usize) {
        let _ = self.leader.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.leader.compare_exchange(self.addresses.len(), 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) async fn submit(&self, command: &Command) -> Result<Reply> {
        let request = Json::of(command)?;
        let mut patience = Patience::of(SUBMIT).with_masters();
        loop {
            let (at, address) = self.current();
            let mut client = self.channels.master(address)?;
            let status = match tokio::time::timeout(ATTEMPT, client.submit(request.clone())).await {
                Ok(Ok(reply)) => return reply.into_inner().parse(),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("master {address} has not answered for {} s", ATTEMPT.as_secs())),
            };
            let unsent = was_never_sent(&status);
            let error = Error::from(status);
            let lost = matches!(error.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded);
            if !(error.is_retryable() || lost && (unsent || is_harmless_twice(command))) {
                return Err(error);
            }
            if error.kind != ErrorKind::ResourceExhausted {
                self.leave(at);
            }
            if !patience.pause(error.retry_after).await {
                return Err(error);
            }
        }
    }
}

/// Whether a command whose outcome is unknown may be sent again.
fn is_harmless_twice(command: &Command) -> bool {
    !matches!(
        command,
        Command::Claim { .. }
            | Command::Publish(_)
            | Command::DropTable { .. }
            | Command::DropSnapshot { .. }
            | Command::RegisterServer
            | Command::Begin { .. }
    )
}

/// Whether a call has failed for want of a connection, so that nobody can have carried it out.
fn was_never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(e) = cause {
        if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = e.source();
    }
    false
}

/// Keeps the view up to date until nobody holds it any more.
pub(super) async fn follow(master: MasterClient, views: watch::Sender<Arc<View>>) {
    let mut patience = Patience::endless().with_masters();
    while !views.is_closed() {
        let (at, address) = master.current();
        match follow_one(&master, address, &views).await {
            Ok(true) => patience = Patience::endless().with_masters(),
            Ok(false) => {}
            Err(e) => tracing::debug!(%address, error = %e, "catalog watch ended"),
        }
        master.leave(at);
        patience.pause(None).await;
    }
}

/// Follows one master until its stream ends; whether it has shown anything.
async fn follow_one(master: &MasterClient, address: &str, views: &watch::Sender<Arc<View>>) -> Result<bool> {
    let known = views.borrow().catalog().version;
    let request = Json::of(&WatchRequest { known })?;
    let mut stream = master.channels.master(address)?.watch(request).await?.into_inner();
    let mut seen = false;
    while let Some(message) = stream.message().await? {
        let changes: CatalogChanges = message.parse()?;
        let old = views.borrow().clone();
        if changes.version <= old.catalog().version {
            continue;
        }
        let newer = old.after(changes).ok_or_else(|| Error::unavailable("changes of the catalog were lost: all of it is asked for"))?;
        views.send_replace(Arc::new(newer));
        seen = true;
    }
    Ok(seen)
}
