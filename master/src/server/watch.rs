use super::node::{Node, stopped};
use crate::state;
use common::rpc::Json;
use common::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// At least this long between two catalogs: a burst of changes is sent as one.
const BURST: Duration = Duration::from_millis(5);
/// How often leadership is confirmed while nothing changes: a master that was cut off must not keep gateways on an old
/// catalog for longer.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);

/// Sends the catalog whenever it is newer than what the caller knows, until either side ends.
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
        if down.send(Ok(Json::of(&state::catalog(&newer.state))?)).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(BURST).await;
    }
}
