use common::rpc::master_service::master_client::MasterClient;
use common::rpc::tablets_service::tablets_client::TabletsClient;
use common::{Error, Result, limits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

const CONNECT: Duration = Duration::from_secs(3);
/// A peer that has vanished without closing is noticed within two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// One connection to each peer, made when first needed and kept; it reconnects by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Channels {
    /// By `host:port`. A plain lock, as it is held for a look-up only and never across an await.
    open: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Channels {
    fn get(&self, address: &str) -> Result<Channel> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| Error::invalid(format!("'{address}' is not an address: write host:port")))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let channel = endpoint.connect_lazy();
        open.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    pub(super) fn master(&self, address: &str) -> Result<MasterClient<Channel>> {
        let client = MasterClient::new(self.get(address)?);
        Ok(client.max_decoding_message_size(limits::MAX_RPC_MESSAGE_BYTES).max_encoding_message_size(limits::MAX_RPC_MESSAGE_BYTES))
    }

    pub(super) fn tablets(&self, address: &str) -> Result<TabletsClient<Channel>> {
        let client = TabletsClient::new(self.get(address)?);
        Ok(client.max_decoding_message_size(limits::MAX_RPC_MESSAGE_BYTES).max_encoding_message_size(limits::MAX_RPC_MESSAGE_BYTES))
    }
}
