//! Calls that reach a follower go on to the leader, once: so any master's address will do.

use super::node::Node;
use common::limits::MAX_RPC_MESSAGE_BYTES;
use common::rpc::Json;
use common::rpc::channel;
use common::rpc::master_service::master_client::MasterClient;
use common::rpc::net::SharedNet;
use common::{Error, Result};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Marks a call that has gone on once.
const FORWARDED: &str = "stele-forwarded";

type Answers = BoxStream<'static, Result<Json, Status>>;

/// Connections to the other masters.
#[derive(Debug)]
pub(super) struct Others {
    net: SharedNet,
    /// By address. A plain lock, held for a look-up only.
    open: Mutex<HashMap<String, Channel>>,
}

impl Others {
    pub(super) fn new(net: SharedNet) -> Self {
        Self { net, open: Mutex::default() }
    }

    /// A client of the master at `address`.
    ///
    /// # Errors
    /// `InvalidArgument` if that is no address.
    pub(super) fn at(&self, address: &str) -> Result<MasterClient<Channel>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match open.get(address) {
            Some(channel) => channel.clone(),
            None => open.entry(address.to_owned()).or_insert(channel::lazy(&self.net, address)?).clone(),
        };
        Ok(MasterClient::new(channel).max_decoding_message_size(MAX_RPC_MESSAGE_BYTES).max_encoding_message_size(MAX_RPC_MESSAGE_BYTES))
    }
}

/// The leader that a call should go on to; `None`: this node leads, or the call has gone on already.
///
/// # Errors
/// `Unavailable` while no leader is known.
pub(super) fn leader(node: &Node, call: &MetadataMap) -> Result<Option<MasterClient<Channel>>> {
    if node.leads_in().is_some() || call.contains_key(FORWARDED) {
        return Ok(None);
    }
    let address = node.leader_address().ok_or_else(|| Error::unavailable("this master does not lead: no leader is elected yet"))?;
    node.others.at(&address).map(Some)
}

fn marked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(FORWARDED, tonic::metadata::MetadataValue::from_static("1"));
    request
}

/// A command and its answer.
pub(super) async fn submit(mut leader: MasterClient<Channel>, command: Json) -> Result<Json, Status> {
    Ok(leader.submit(marked(command)).await?.into_inner())
}

/// A heartbeat stream, both ways.
pub(super) async fn heartbeat(mut leader: MasterClient<Channel>, reports: Streaming<Json>) -> Result<Answers, Status> {
    // What ends the stream on this side ends it on the other.
    let reports = reports.take_while(|report| std::future::ready(report.is_ok())).filter_map(|report| std::future::ready(report.ok()));
    Ok(answers(leader.heartbeat(marked(reports)).await?.into_inner()))
}

/// A watch.
pub(super) async fn watch(mut leader: MasterClient<Channel>, request: Json) -> Result<Answers, Status> {
    Ok(answers(leader.watch(marked(request)).await?.into_inner()))
}

fn answers(stream: impl Stream<Item = Result<Json, Status>> + Send + 'static) -> Answers {
    stream.boxed()
}
