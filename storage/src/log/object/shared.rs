//! What the writing task tells the others.

use crate::log::index::Index;
use crate::log::live::LiveSegments;
use crate::sync::lock;
use common::{Error, Result};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) objects: LiveSegments,
    /// All numbers up to here have landed.
    durable: AtomicU64,
    pending: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when the oldest put has been on its way.
    oldest_put: Option<Instant>,
    ended: Option<Error>,
}

impl Shared {
    /// Object `number` and all below have landed.
    pub(super) fn durable(&self, number: u64, bytes: u64, touched: Duration, index: Arc<Index>) {
        self.objects.change(number, |s| (s.bytes, s.touched, s.index) = (bytes, touched, index));
        self.durable.store(number, Ordering::Release);
    }

    pub(super) fn newest_durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn appended(&self, bytes: usize) {
        self.pending.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, bytes: usize) {
        self.pending.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes appended that are not answered.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn now(&self, oldest_put: Option<Instant>, ended: Option<&Error>) {
        let mut state = lock(&self.state);
        state.oldest_put = oldest_put;
        if state.ended.is_none() {
            state.ended = ended.cloned();
        }
    }

    /// Whether puts are answered within `patience`.
    pub(super) fn check(&self, patience: Duration) -> Result<()> {
        let state = lock(&self.state);
        if let Some(e) = &state.ended {
            return Err(e.clone());
        }
        match state.oldest_put.map(|since| since.elapsed()) {
            Some(waited) if waited > patience => {
                let text = format!("the object store has not taken a log object for {} ms: writes wait for it", waited.as_millis());
                Err(Error::exhausted(text, patience))
            }
            _ => Ok(()),
        }
    }
}
