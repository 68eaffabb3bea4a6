//! Sends a write of one row that depends on what the row holds.

use super::Cluster;
use super::call::{TRY_FOR, answered, may_pass};
use super::patience::Patience;
use super::router::unknown;
use common::ids::TabletId;
use common::rpc::tablet::{Conditional, ConditionalRequest, ConditionalResponse, Target};
use common::schema::Table;
use common::{Error, ErrorKind, Result};

/// Sends until the outcome is known or the patience is at its end, always under one request id; to another tablet than at
/// first only while it is certain that nothing was written.
pub(super) async fn write(cluster: &Cluster, table: &Table, wanted: &Conditional) -> Result<ConditionalResponse> {
    let (record, request_id) = (wanted.encode()?, rand::random::<[u8; 16]>().to_vec().into());
    let mut request = ConditionalRequest { target: None, request_id, record };
    let (mut patience, mut uncertain, mut sent_to) = (Patience::of(TRY_FOR), false, None);
    loop {
        let tablet = cluster.view().tablet_at(table, wanted.key())?.id;
        if uncertain && sent_to != Some(tablet) {
            return Err(unknown(&Error::unavailable("its tablet was split or merged meanwhile")));
        }
        sent_to = Some(tablet);
        request.target = Some(Target::new(table.id, tablet));
        let error = match send_once(cluster, table, tablet, &request).await {
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

async fn send_once(cluster: &Cluster, table: &Table, tablet: TabletId, request: &ConditionalRequest) -> Result<ConditionalResponse> {
    let mut client = cluster.client(table.id, tablet)?;
    answered(tablet, client.conditional(request.clone())).await.map(tonic::Response::into_inner)
}
