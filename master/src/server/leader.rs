use super::node::{Node, stopped};
use super::{fencing, procedures};
use crate::entry::Change;
use crate::liveness::decide;
use crate::timing::TICK;
use std::sync::Arc;

/// Changes that follow from each other at once; more would be a circle, which the next tick goes on with.
const ROUNDS: usize = 8;

/// Carries out what is decided: at each tick, report and change of state, while this node leads.
pub(super) async fn run(node: Arc<Node>) {
    let mut stop = node.stop.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = node.wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
        look(&node).await;
        fencing::start(&node);
        procedures::start(&node);
    }
}

/// Decides and carries out until there is nothing more to do.
pub(super) async fn look(node: &Node) {
    for _ in 0..ROUNDS {
        let changes = decisions(node);
        if changes.is_empty() || !carry_out(node, changes).await {
            return;
        }
    }
}

fn decisions(node: &Node) -> Vec<Change> {
    let Some(term) = node.leads_in() else { return Vec::new() };
    let (applied, now) = (node.state(), node.now());
    let mut memory = node.memory();
    memory.lead(term, &applied.state, now);
    memory.tick(&applied.state, now);
    decide(&applied.state, &memory, &node.policy, now)
}

/// Whether all of it was committed.
async fn carry_out(node: &Node, changes: Vec<Change>) -> bool {
    for change in changes {
        match &change {
            Change::ServerStarted { server, incarnation, address, .. } => {
                tracing::info!(server = server.0, incarnation = incarnation.0, address, "tablet server started");
            }
            Change::ServerDead { server, incarnation } => {
                tracing::warn!(server = server.0, incarnation = incarnation.0, "tablet server is silent: its life is over");
            }
            Change::Begin { procedure, why } => tracing::info!(procedure = %procedure.0, why, "a procedure begins"),
            Change::GiveUp { procedure, error } => tracing::warn!(procedure = procedure.0, error, "a procedure is given up"),
            Change::Verified { table, ahead: true } => tracing::error!(
                table = table.0,
                "a tablet of this derived table shows a run that the restored state does not know: it is paused and shows what it did; apply its \
                 definition under another name, or remove it and apply it again, to have it computed anew"
            ),
            Change::ExpireClaims(claims) => tracing::warn!(?claims, "runners are silent: their runs are aborted"),
            other => tracing::debug!(change = ?other, "cluster change"),
        }
        if let Err(e) = node.change(change).await {
            tracing::warn!(error = %e, "cluster change refused");
            return false;
        }
    }
    true
}
