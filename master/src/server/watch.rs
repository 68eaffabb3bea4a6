use super::node::{Node, stopped};
use crate::state;
use common::rpc::Json;
use common::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// At least this long between two messages: a burst of changes is sent as one.
const BURST: Duration = Duration::from_millis(5);
/// And this much longer for each tablet: whoever follows indexes all of them anew.
const BURST_PER_TABLET: Duration = Duration::from_micros(2);
/// How often leadership is confirmed while nothing changes: a master that was cut off must not keep gateways on an old
/// catalog for longer.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);

/// Sends what changes in the catalog whenever it is newer than what the caller knows, until either side ends.
pub(super) async fn serve(node: Arc<Node>, known: u64, down: mpsc::Sender<Result<Json, Status>>) {
    let end = tokio::select! {
        end = follow(&node, known, &down) => end,
        () = down.closed() => return,
    };
    if let Err(e) = end {
        let _ = down.send(Err(e.into())).await;
    }
}

async fn follow(node: &Node, mut known: u64, down: &mpsc::Sender<Result<Json, Status>>) -> Result<()> {
    let over = || Error::unavailable("this master is shutting down");
    let mut applied = node.applied.clone();
    let mut stop = node.stop.clone();
    node.confirm.leadership().await?;
    // The catalog follows from the state, so one of this version is this one, whoever has sent it.
    let mut sent = Some(node.state()).filter(|now| now.state.version == known);
    loop {
        let newer = tokio::select! {
            () = stopped(&mut stop) => return Err(over()),
            newer = applied.wait_for(|a| a.state.version > known) => Some(newer.map_err(|_| over())?.clone()),
            () = tokio::time::sleep(CONFIRM_EVERY) => None,
        };
        let Some(newer) = newer else {
            node.confirm.leadership().await?;
            continue;
        };
        known = newer.state.version;
        let changes = state::catalog_changes(sent.as_ref().map(|sent| &sent.state), &newer.state);
        if down.send(Ok(Json::of(&changes)?)).await.is_err() {
            return Ok(());
        }
        let burst = BURST + BURST_PER_TABLET * u32::try_from(newer.state.tablets.len()).unwrap_or(u32::MAX);
        sent = Some(newer);
        tokio::time::sleep(burst).await;
    }
}
