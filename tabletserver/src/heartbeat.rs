//! The stream to the leader: reports up, lease and orders down.

mod masters;
mod orders;

pub use masters::{Masters, register};
pub use orders::Mailbox;

use crate::host::Host;
use crate::identity::Identity;
use common::changes::Ledger;
use common::config::LogKind;
use common::rpc::Json;
use common::rpc::master::{Orders, Report, TabletReport};
use common::rpc::net::SharedNet;
use common::threads::Threads;
use common::{Error, Result};
use futures::StreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Reports go at least this often; a lease is five of them.
pub const PERIOD: Duration = Duration::from_millis(500);
/// A leader that sends nothing for this long is given up: less than a lease, so that another one is found in time.
const SILENCE: Duration = Duration::from_millis(1500);
/// At least this long between two reports of changes.
const GATHER: Duration = Duration::from_millis(10);
/// Wait after all masters have been tried in vain.
const BACKOFF: Duration = Duration::from_millis(200);
/// Reports that may wait for a slow stream. More would only be stale.
const UNSENT: usize = 2;

/// Who reports.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The server and its life.
    pub identity: Identity,
    /// Where its RPC listens, `host:port`.
    pub address: String,
    /// Where this life writes its log.
    pub log: LogKind,
    /// The masters' addresses.
    pub masters: Vec<String>,
    /// The way there.
    pub net: SharedNet,
}

/// The heartbeat of one life.
pub struct Heartbeat {
    host: Arc<Host>,
    who: Reporter,
    mailbox: Mailbox,
    sequence: u64,
    /// The tablets as they were last reported; its versions are `sequence`.
    reports: Ledger<TabletReport>,
    /// Why the last stream ended.
    complaint: Option<Error>,
}

impl Heartbeat {
    /// Reports as `who`, puts orders into `mailbox`.
    #[must_use]
    pub fn new(host: Arc<Host>, who: Reporter, mailbox: Mailbox) -> Self {
        Self { host, who, mailbox, sequence: 0, reports: Ledger::new(0), complaint: None }
    }

    /// [`Self::run`] on a thread of its own, so that a process whose other threads are all busy keeps its lease.
    ///
    /// # Errors
    /// `Unavailable` if there is no thread for it.
    pub fn spawn(self, threads: Threads, stop: CancellationToken) -> Result<oneshot::Receiver<Result<()>>> {
        let (tell, ended) = oneshot::channel();
        if threads == Threads::Callers {
            // Nobody may wait any more for how it ended.
            tokio::spawn(async { tell.send(self.run(stop).await) });
            return Ok(ended);
        }
        let no_thread = |e| Error::unavailable(format!("cannot start the heartbeat thread: {e}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let beat = move || {
            // Nobody may wait any more for how it ended.
            let _ = tell.send(runtime.block_on(self.run(stop)));
        };
        std::thread::Builder::new().name("heartbeat".into()).spawn(beat).map_err(no_thread)?;
        Ok(ended)
    }

    /// Keeps a stream to whichever master leads, until `stop` or until this life is over.
    ///
    /// # Errors
    /// `Fenced` once the leader has ended this life.
    async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let masters = self.who.masters.clone();
        loop {
            for address in &masters {
                let ended = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    ended = self.session(address) => ended,
                };
                match ended {
                    Err(e) if self.mailbox.is_fenced() => return Err(e),
                    Err(e) => self.complain(address, e),
                    Ok(()) => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(BACKOFF) => {}
            }
        }
    }

    /// Says once why a stream ended; an operator must see a reason that stays.
    fn complain(&mut self, address: &str, e: Error) {
        if self.complaint.as_ref() != Some(&e) {
            tracing::warn!(master = address, error = %e, "heartbeat stream ended");
            self.complaint = Some(e);
        }
    }

    /// One stream to one master, until it fails.
    async fn session(&mut self, address: &str) -> Result<()> {
        let (reports, outbound) = mpsc::channel(UNSENT);
        let mut client = masters::connect(&self.who.net, address).await?;
        // What another stream's master has heard says nothing of this one.
        self.mailbox.begin_stream();
        self.report(&reports)?;
        // A master that accepts but never answers must not hold up the search for the leader.
        let opened = tokio::time::timeout(SILENCE, client.heartbeat(ReceiverStream::new(outbound))).await;
        let mut inbound = opened.map_err(|_| silent(address))??.into_inner();
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut deadline = Instant::now() + SILENCE;
        let host = self.host.clone();
        let mut next_news = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => self.report(&reports)?,
                () = news(&host, next_news) => {
                    next_news = Instant::now() + GATHER;
                    self.report(&reports)?;
                }
                message = inbound.next() => {
                    let message = message.ok_or_else(|| Error::unavailable(format!("master {address} closed the stream")))??;
                    self.take(&message)?;
                    deadline = Instant::now() + SILENCE;
                }
                () = tokio::time::sleep_until(deadline) => return Err(silent(address)),
            }
        }
    }

    /// Sends a report, unless unsent ones wait already: then a later tick sends newer ones.
    fn report(&mut self, reports: &mpsc::Sender<Json>) -> Result<()> {
        let Ok(slot) = reports.try_reserve() else {
            return if reports.is_closed() { Err(Error::unavailable("the stream has ended")) } else { Ok(()) };
        };
        self.sequence += 1;
        // The lease runs from here, whatever time the report takes to be made and sent.
        let now = self.host.clock.monotonic();
        self.mailbox.sent(self.sequence, now);
        self.reports.begin(self.sequence);
        self.host.registry.report(&mut self.reports, now);
        let heard = self.mailbox.heard();
        self.reports.told(heard.unwrap_or(0));
        slot.send(Json::of(&Report {
            server: self.who.identity.server,
            incarnation: self.who.identity.incarnation,
            address: self.who.address.clone(),
            log: self.who.log,
            sequence: self.sequence,
            order_version: self.mailbox.order_version(),
            tablets: self.reports.since(heard),
            requests: self.host.engine.store_requests(),
            wall: self.host.clock.now(),
            leaving: self.host.leaving.load(Ordering::Acquire),
        })?);
        Ok(())
    }

    fn take(&mut self, message: &Json) -> Result<()> {
        let orders: Orders = message.parse()?;
        if orders.fenced {
            self.host.lease.revoke();
            self.mailbox.fence();
            return Err(Error::fenced(format!(
                "life {} of tablet server {} was declared dead or replaced",
                self.who.identity.incarnation, self.who.identity.server
            )));
        }
        self.complaint = None;
        self.host.others.store(orders.others, Ordering::Release);
        if let Some(until) = self.mailbox.take(orders) {
            self.host.lease.extend(until);
        }
        Ok(())
    }
}

/// Something changed, but not before `at`: what changes in a moment goes in one report.
async fn news(host: &Host, at: Instant) {
    tokio::time::sleep_until(at).await;
    host.registry.reportable.notified().await;
}

fn silent(address: &str) -> Error {
    Error::deadline(format!("master {address} is silent for {} ms", SILENCE.as_millis()))
}
