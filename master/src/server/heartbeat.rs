use super::node::{Node, stopped};
use super::orders::Told;
use common::rpc::Json;
use common::rpc::master::{Orders, Report};
use common::{Error, Result};
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

type Down = mpsc::Sender<Result<Json, Status>>;

/// Serves one heartbeat stream until either side ends it.
pub(super) async fn serve(node: Arc<Node>, mut reports: Streaming<Json>, down: Down) {
    if let Err(e) = exchange(&node, &mut reports, &down).await {
        let _ = down.send(Err(e.into())).await;
    }
}

/// Answers each report at once, and sends new orders at once when a change of state makes some.
async fn exchange(node: &Node, reports: &mut Streaming<Json>, down: &Down) -> Result<()> {
    let mut applied = node.applied.clone();
    let mut stop = node.stop.clone();
    let mut told: Option<Told> = None;
    loop {
        let orders = tokio::select! {
            () = stopped(&mut stop) => return Err(Error::unavailable("this master is shutting down")),
            report = reports.message() => match report.map_err(Error::from)? {
                Some(report) => Some(answer(node, report.parse()?, &mut told).await?),
                None => return Ok(()),
            },
            changed = applied.changed() => {
                changed.map_err(|_| Error::unavailable("this master is shutting down"))?;
                push(node, &applied.borrow_and_update(), told.as_mut())
            }
        };
        let Some(orders) = orders else { continue };
        if down.send(Ok(Json::of(&orders)?)).await.is_err() || orders.fenced {
            return Ok(());
        }
    }
}

/// The answer to a report, after a confirmation of leadership that began after the report came.
async fn answer(node: &Node, report: Report, told: &mut Option<Told>) -> Result<Orders> {
    let (server, incarnation, sequence, has) = (report.server, report.incarnation, report.sequence, report.order_version);
    let heard = hear(node, report)?;
    node.confirm.leadership().await?;
    let term = node.leads_in().ok_or_else(|| Error::unavailable("this master does not lead any more"))?;
    let applied = node.state();
    if !told.as_ref().is_some_and(|t| t.is(server, incarnation)) {
        *told = None;
    }
    let told = told.get_or_insert_with(|| Told::new(server, incarnation, &applied.state));
    told.has(has);
    (told.answers, told.heard) = (sequence, heard);
    Ok(told.orders(&applied, term))
}

/// Notes a report; gives the newest one whose tablets are known. This needs no confirmed leadership, and must not wait for it:
/// a server is not dead because the leader's own disk is slow.
fn hear(node: &Node, report: Report) -> Result<Option<u64>> {
    let (applied, now) = (node.state(), node.now());
    if !applied.state.servers.contains_key(&report.server) {
        return Err(Error::refused(format!(
            "tablet server {} is not registered in this cluster: its data folder belongs to another one",
            report.server
        )));
    }
    let Some(term) = node.leads_in() else { return Ok(None) };
    let mut memory = node.memory();
    memory.lead(term, &applied.state, now);
    let heard = memory.heard(report, now);
    drop(memory);
    node.wake.notify_one();
    Ok(heard)
}

/// Orders that nobody has asked for, if the change means anything to this server. They extend no lease.
fn push(node: &Node, applied: &crate::raft::Applied, told: Option<&mut Told>) -> Option<Orders> {
    let term = node.leads_in()?;
    let told = told?;
    told.is_news(applied).then(|| told.orders(applied, term))
}
