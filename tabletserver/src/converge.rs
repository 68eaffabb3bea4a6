//! From the tablets held to the tablets desired, level-triggered: whenever the list or a tablet changes,
//! everything is looked at anew, so that a lost order or a failed step costs a retry and nothing else.
//! What to do is decided by [`plan`]; here one job is started for each step.

use crate::host::Host;
use crate::plan::{Action, Wanted, WantedList, plan};
use bytes::Bytes;
use common::rpc::master::{SplitBy, SplitPoint};
use common::{ErrorKind, Result};
use futures::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use storage::format::LogName;
use storage::{Tablet, TabletOpen};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tablets that are opened or closed at once: each waits for the object store most of the time.
const AT_ONCE: usize = 32;

/// Changes within this time after a look are looked at together.
const GATHER: Duration = Duration::from_millis(10);

/// The newest desired list; `None` before the first orders.
pub type Orders = watch::Receiver<Option<Arc<WantedList>>>;

/// Keeps the tablets held at what is desired, until `stop`. Jobs under way are finished first.
pub async fn run(host: Arc<Host>, mut orders: Orders, stop: CancellationToken) {
    let (mut jobs, slots) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    while !stop.is_cancelled() {
        let wanted = orders.borrow_and_update().clone();
        let look_again = wanted.and_then(|wanted| start(&host, &wanted, &mut jobs, &slots));
        // A look goes over all tablets: those that are opened one after the other share one.
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(GATHER) => {}
        }
        while jobs.try_join_next().is_some() {}
        tokio::select! {
            () = stop.cancelled() => break,
            changed = orders.changed() => if changed.is_err() { break },
            Some(_) = jobs.join_next() => {}
            () = host.registry.work.notified() => {}
            () = sleep_until(&host, look_again) => {}
        }
    }
    while jobs.join_next().await.is_some() {}
}

/// Starts every step that is due; when to look again.
fn start(host: &Arc<Host>, wanted: &WantedList, jobs: &mut JoinSet<()>, slots: &Arc<Semaphore>) -> Option<Duration> {
    let plan = plan(wanted, &host.registry.held(wanted), host.clock.monotonic());
    for action in plan.actions {
        let (host, slots) = (host.clone(), slots.clone());
        match action {
            Action::Open(id) => {
                let Some(wanted) = wanted.get(&id).cloned() else { continue };
                host.registry.begin_open(wanted.desired.tablet, wanted.desired.epoch);
                jobs.spawn(async move {
                    let _slot = slots.acquire().await;
                    open(&host, &wanted).await;
                });
            }
            Action::Update(id) => {
                let Some(wanted) = wanted.get(&id).cloned() else { continue };
                if let Some(tablet) = host.registry.begin_update(id) {
                    jobs.spawn(async move { update(&host, &tablet, &wanted).await });
                }
            }
            Action::Forget(id) => host.registry.forget(id),
            Action::Close(id) => {
                // One that is served is flushed first, so that closing it takes moments.
                if let Some(tablet) = host.registry.begin_update(id) {
                    jobs.spawn(async move {
                        let _slot = slots.acquire().await;
                        flush_and_close(&host, tablet).await;
                    });
                } else if let Some(tablet) = host.registry.begin_close(id) {
                    jobs.spawn(async move {
                        let _slot = slots.acquire().await;
                        close(&host, tablet).await;
                    });
                }
            }
        }
    }
    plan.look_again
}

async fn sleep_until(host: &Host, at: Option<Duration>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_sub(host.clock.monotonic())).await,
        None => std::future::pending().await,
    }
}

async fn open(host: &Host, wanted: &Wanted) {
    let Wanted { desired, table } = wanted;
    host.engine
        .note_fences(desired.fences.iter().map(|(server, incarnation, at)| (LogName { server: *server, incarnation: *incarnation }, *at)));
    let (tablet, range, epoch, pin) = (desired.tablet, desired.range.clone(), desired.epoch, desired.pin);
    match host.engine.open_tablet(TabletOpen { tablet, range, epoch, table: table.clone(), pin, log_fence: None }).await {
        Ok(opened) => {
            tracing::info!(tablet = tablet.0, epoch = epoch.0, table = table.name, "tablet opened");
            host.registry.opened(opened, pin);
        }
        Err(e) => {
            tracing::warn!(tablet = tablet.0, epoch = epoch.0, table = table.name, error = %e, "tablet cannot be opened");
            host.registry.open_failed(tablet, e.message, host.clock.monotonic());
        }
    }
}

/// How long a tablet that is to be given away may be compacted before, if that waits for it.
const RELIEF: Duration = Duration::from_secs(10);

/// Twice, so that the second time finds little.
async fn flush_and_close(host: &Host, tablet: Tablet) {
    // One that goes from hand to hand would else be flushed each time and compacted never.
    if let Err(e) = tablet.relieve(RELIEF).await {
        tracing::debug!(tablet = tablet.id().0, error = %e, "tablet is not compacted before it goes");
    }
    for _ in 0..2 {
        match tablet.flush().await {
            Err(e) if !matches!(e.kind, ErrorKind::Fenced | ErrorKind::NotMine | ErrorKind::NotFound) => {
                tracing::warn!(tablet = tablet.id().0, error = %e, "tablet cannot be flushed: it is not closed yet");
                return host.registry.flush_failed(&tablet, host.clock.monotonic());
            }
            _ => {}
        }
    }
    if let Some(tablet) = host.registry.begin_close(tablet.id()) {
        close(host, tablet).await;
    }
}

async fn close(host: &Host, tablet: Tablet) {
    match host.engine.close_tablet(tablet.id()).await {
        // Whoever fenced it off has all that is durable; there is nothing left to close.
        Err(e) if !matches!(e.kind, ErrorKind::Fenced | ErrorKind::NotMine | ErrorKind::NotFound) => {
            tracing::warn!(tablet = tablet.id().0, error = %e, "tablet cannot be closed");
            host.registry.close_failed(tablet, host.clock.monotonic());
        }
        _ => {
            tracing::info!(tablet = tablet.id().0, epoch = tablet.epoch().0, "tablet closed");
            host.registry.closed(&tablet, host.clock.monotonic());
        }
    }
}

async fn update(host: &Host, tablet: &Tablet, wanted: &Wanted) {
    let result = tell(host, tablet, wanted).await;
    if let Err(e) = &result {
        tracing::warn!(tablet = tablet.id().0, error = %e, "tablet cannot follow its orders");
    }
    host.registry.updated(tablet, wanted, &result, host.clock.monotonic());
}

/// Tells an open tablet everything that its order says; where it can be cut, if that is asked.
async fn tell(host: &Host, tablet: &Tablet, wanted: &Wanted) -> Result<Option<SplitPoint>> {
    if tablet.table() != wanted.table {
        tablet.set_table(wanted.table.clone());
    }
    tablet.set_pin(wanted.desired.pin);
    host.publish(tablet, &wanted.desired.runs).await?;
    for run in &wanted.desired.aborted {
        tablet.drop_staged(*run).await?;
    }
    if host.registry.has_to_flush(wanted) {
        tablet.flush().await?;
    }
    match wanted.desired.split {
        None => Ok(None),
        Some(by) => split_point(host, tablet, by).await.map(Some),
    }
}

/// Where a tablet can be cut: by its load if that is asked and known, else by its bytes.
async fn split_point(host: &Host, tablet: &Tablet, by: SplitBy) -> Result<SplitPoint> {
    let by_load = (by == SplitBy::Load).then(|| host.registry.meter(tablet.id()).middle()).flatten();
    let range = tablet.range();
    let cuts = |key: &Bytes| range.contains(key) && *key > range.start;
    if let Some(key) = by_load.filter(cuts) {
        return Ok(SplitPoint { at: Some(key) });
    }
    let middle = tablet.split_points(2).await?.into_iter().next().map(|sample| sample.key);
    Ok(SplitPoint { at: middle.filter(cuts) })
}

/// Flushes every open tablet once. What cannot be flushed is in the log.
pub async fn flush_all(host: &Arc<Host>) {
    let flush = |tablet: Tablet| async move {
        if let Err(e) = tablet.flush().await {
            tracing::warn!(tablet = tablet.id().0, error = %e, "tablet cannot be flushed");
        }
    };
    stream::iter(host.registry.serving()).for_each_concurrent(AT_ONCE, flush).await;
}

/// Closes every tablet, trying each at most `tries` times. The rows of those that stay open are in the log.
pub async fn close_all(host: &Arc<Host>, tries: u32) {
    for _ in 0..tries {
        let mut jobs = JoinSet::new();
        for tablet in host.registry.unclosed().into_iter().filter_map(|id| host.registry.begin_close(id)) {
            let host = host.clone();
            jobs.spawn(async move { close(&host, tablet).await });
        }
        while jobs.join_next().await.is_some() {}
        if host.registry.unclosed().is_empty() {
            break;
        }
    }
}
