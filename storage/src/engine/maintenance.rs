//! What goes on by itself: flushing for memory and for the log, trimming the log.

use super::dead_logs::DeadLogs;
use super::{Slot, open_tablets};
use crate::shared::Shared;
use crate::sync::lock;
use common::ids::TabletId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest time between two rounds.
const ROUND: Duration = Duration::from_secs(1);

/// Time between two looks for compactions that age alone makes due.
const COMPACT_EVERY: Duration = Duration::from_secs(10);

type Tablets = Mutex<HashMap<TabletId, Slot>>;

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>, tablets: Arc<Tablets>, dead_logs: Arc<DeadLogs>) {
    let (mut looked, mut round) = (shared.config.clock.monotonic(), 0);
    loop {
        let _ = tokio::time::timeout(ROUND, shared.wake.notified()).await;
        flush_for_memory(&shared, &tablets);
        move_on_in_log(&shared, &tablets);
        if let Some(needed) = needed_segment(&shared, &tablets)
            && let Err(e) = shared.log.trim(needed).await
        {
            tracing::warn!(error = %e, "the log is not trimmed; it is tried again");
        }
        // Flushed for other reasons than a full memtable, or taken over like that.
        open_tablets(&tablets).iter().filter(|t| t.is_behind()).for_each(|t| t.compact_in_background());
        // Data ages, and slices with it, also where nothing is written.
        let now = shared.config.clock.monotonic();
        if now.saturating_sub(looked) >= COMPACT_EVERY {
            looked = now;
            round += 1;
            open_tablets(&tablets).iter().filter(|t| t.may_have_aged(round)).for_each(|t| t.compact_in_background());
        }
        if !is_opening(&tablets) {
            dead_logs.sweep().await;
        }
    }
}

/// Above half of the budget the largest memtables are flushed; unfinished flushes are taken up again.
fn flush_for_memory(shared: &Shared, tablets: &Tablets) {
    let mut open = open_tablets(tablets);
    open.iter().filter(|t| t.has_frozen()).for_each(|t| t.maintain());
    let mut active: usize = open.iter().map(|t| t.active_bytes()).sum();
    if active <= shared.memory.limit() / 2 {
        return;
    }
    open.sort_by_key(|t| t.active_bytes());
    while active > shared.memory.limit() / 2
        && let Some(largest) = open.pop()
    {
        active -= largest.active_bytes().min(active);
        largest.maintain();
    }
}

/// Above the log's budget the tablets that hold its oldest part back move on in it, until three quarters are left.
fn move_on_in_log(shared: &Shared, tablets: &Tablets) {
    let (bytes, segments) = (shared.config.log_bytes, shared.config.log_segments);
    let open = open_tablets(tablets);
    let needed = open.iter().map(|t| t.log_from()).min().unwrap_or(u64::MAX);
    if needed < shared.log.keep_from(bytes, segments) {
        let keep = shared.log.keep_from(bytes / 4 * 3, segments / 4 * 3);
        open.iter().filter(|t| t.log_from() < keep).for_each(|t| t.move_on());
    }
}

/// The first segment that some tablet's manifest needs; `None` while that cannot be told.
pub(super) fn needed_segment(shared: &Shared, tablets: &Tablets) -> Option<u64> {
    let mut needed = shared.log.newest();
    for slot in lock(tablets).values() {
        match slot {
            Slot::Opening => return None,
            Slot::Open(inner) => needed = needed.min(inner.log_from()),
            Slot::Closed(from) => needed = needed.min(*from),
        }
    }
    Some(needed)
}

fn is_opening(tablets: &Tablets) -> bool {
    lock(tablets).values().any(|slot| matches!(slot, Slot::Opening))
}
