//! Ends the logs of dead lives in the object store: once for all tablets, before these go on elsewhere.

use super::node::Node;
use crate::entry::Change;
use crate::state::Life;
use common::ids::{Incarnation, ServerId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use storage::format::LogName;

/// The logs that are being ended, each with the nonce that names this master's fence over retries.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    nonces: Mutex<BTreeMap<(ServerId, Incarnation), Attempt>>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    nonce: u128,
    under_way: bool,
}

impl Fencing {
    /// The nonce for ending a life's log; `None` if somebody is at it.
    fn begin(&self, life: &Life) -> Option<u128> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Attempt { nonce: common::store::nonce(), under_way: false };
        let attempt = nonces.entry((life.server, life.incarnation)).or_insert_with(fresh);
        let free = !std::mem::replace(&mut attempt.under_way, true);
        free.then_some(attempt.nonce)
    }

    /// The attempt has ended; after a success its nonce is of no use any more.
    fn end(&self, life: &Life, done: bool) {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (life.server, life.incarnation);
        if done {
            nonces.remove(&key);
        } else if let Some(attempt) = nonces.get_mut(&key) {
            attempt.under_way = false;
        }
    }
}

/// Begins to end what is due, while this node leads. A failed attempt is repeated at a later look.
pub(super) fn start(node: &Arc<Node>) {
    if node.leads_in().is_none() {
        return;
    }
    let unfenced = node.state().state.unfenced(node.memory().index().waiting().map(|(_, tablet)| tablet));
    for life in unfenced {
        let Some(nonce) = node.fencing.begin(&life) else { continue };
        let node = node.clone();
        tokio::spawn(async move {
            let done = fence(&node, &life, nonce).await;
            node.fencing.end(&life, done);
            node.wake.notify_one();
        });
    }
}

async fn fence(node: &Node, life: &Life, nonce: u128) -> bool {
    let Life { server, incarnation, .. } = *life;
    let log = LogName { server, incarnation };
    let fenced = match storage::fence_log(&node.store, log, nonce).await {
        Ok(position) => node.change(Change::LogFenced { server, incarnation, position }).await.map(|()| position),
        Err(e) => Err(e),
    };
    match fenced {
        Ok(position) => tracing::info!(server = server.0, incarnation = incarnation.0, position, "the log of a dead life is fenced"),
        Err(ref e) => {
            tracing::warn!(server = server.0, incarnation = incarnation.0, error = %e, "the log of a dead life is not fenced yet")
        }
    }
    fenced.is_ok()
}
