//! Sends a write of one row that depends on what the row holds.

use super::Cluster;
use super::call::{TRY_FOR, answered, may_pass};
use super::patience::Patience;
use super::router::unknown;
use common::rpc::tablet::{Conditional, ConditionalRequest, ConditionalResponse, Target};
use common::schema::Table;
use common::{ErrorKind, Result};

/// Sends until the outcome is known or the patience is at its end, always under one request id: a tablet that has the row from
/// one that was split or merged meanwhile has what that one knew of requests, too.
pub(super) async fn write(cluster: &Cluster, table: &Table, wanted: &Conditional) -> Result<ConditionalResponse> {
    let (record, request_id) = (wanted.encode()?, rand::random::<[u8; 16]>().to_vec().into());
    let mut request = ConditionalRequest { target: None, request_id, record };
    let (mut patience, mut uncertain) = (Patience::of(TRY_FOR), false);
    loop {
        let error = match send_once(cluster, table, wanted, &mut request).await {
            Ok(response) => return Ok(response),
            Err(e) => e,
        };
        uncertain |= matches!(error.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded);
        let again = may_pass(&error) || error.kind == ErrorKind::DeadlineExceeded;
        if !again || !cluster.wait(&mut patience, &error).await {
            return Err(if uncertain && again { unknown(&error) } else { error });
        }
    }
}

/// To the tablet that has the row now.
async fn send_once(
    cluster: &Cluster,
    table: &Table,
    wanted: &Conditional,
    request: &mut ConditionalRequest,
) -> Result<ConditionalResponse> {
    let tablet = cluster.view().tablet_at(table, wanted.key())?.id;
    request.target = Some(Target::new(table.id, tablet));
    let mut client = cluster.client(table.id, tablet)?;
    answered(tablet, client.conditional(request.clone())).await.map(tonic::Response::into_inner)
}
