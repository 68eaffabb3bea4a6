use common::rpc::channel;
use common::rpc::master_service::master_client::MasterClient;
use common::rpc::net::SharedNet;
use common::rpc::tablets_service::tablets_client::TabletsClient;
use common::{Result, limits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::transport::Channel;

/// One connection to each peer, made when first needed and kept; it reconnects by itself.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    net: SharedNet,
    /// By `host:port`, and a spare one that does not wait behind the first. A plain lock, as it is held for a look-up only
    /// and never across an await.
    open: Arc<Mutex<[HashMap<String, Channel>; 2]>>,
}

impl Channels {
    pub(super) fn new(net: SharedNet) -> Self {
        Self { net, open: Arc::default() }
    }

    fn get(&self, address: &str, spare: bool) -> Result<Channel> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = &mut open[usize::from(spare)];
        if let Some(channel) = open.get(address) {
            return Ok(channel.clone());
        }
        let channel = channel::lazy(&self.net, address)?;
        open.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    pub(super) fn master(&self, address: &str) -> Result<MasterClient<Channel>> {
        let client = MasterClient::new(self.get(address, false)?);
        Ok(client.max_decoding_message_size(limits::MAX_RPC_MESSAGE_BYTES).max_encoding_message_size(limits::MAX_RPC_MESSAGE_BYTES))
    }

    pub(super) fn tablets(&self, address: &str, spare: bool) -> Result<TabletsClient<Channel>> {
        let client = TabletsClient::new(self.get(address, spare)?);
        Ok(client.max_decoding_message_size(limits::MAX_RPC_MESSAGE_BYTES).max_encoding_message_size(limits::MAX_RPC_MESSAGE_BYTES))
    }
}
