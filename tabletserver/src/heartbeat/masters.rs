//! Finding a master that answers.

use common::ids::ServerId;
use common::rpc::Json;
use common::rpc::channel;
use common::rpc::master::{Command, Reply};
use common::rpc::master_service::master_client::MasterClient;
use common::rpc::net::SharedNet;
use common::{Error, ErrorKind, Result, limits};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::transport::Channel;

/// How long an empty volume looks for a leader that gives it an id.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for one master.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Longest wait for the answer to a command; then another master is asked.
const ANSWER: Duration = Duration::from_secs(1);
const BACKOFF: Duration = Duration::from_millis(200);

/// A client of the master at `address`.
pub(super) async fn connect(net: &SharedNet, address: &str) -> Result<MasterClient<Channel>> {
    let connected = channel::connect(net, address).await.map_err(|e| e.context("master"))?;
    Ok(MasterClient::new(connected)
        .max_decoding_message_size(limits::MAX_RPC_MESSAGE_BYTES)
        .max_encoding_message_size(limits::MAX_RPC_MESSAGE_BYTES))
}

/// The id of a new tablet server, from whichever master leads.
///
/// # Errors
/// `Unavailable` if none gives one for a minute, naming the last reason.
pub async fn register(net: &SharedNet, masters: &[String]) -> Result<ServerId> {
    let mut last = Error::invalid("no master address is configured");
    let attempts = async {
        loop {
            for address in masters {
                match tokio::time::timeout(ATTEMPT, ask(net, address)).await {
                    Ok(Ok(server)) => return server,
                    Ok(Err(e)) => last = e.context(format!("master {address}")),
                    Err(_) => last = Error::deadline(format!("master {address} does not answer")),
                }
                tracing::debug!(error = %last, "no server id yet");
            }
            tokio::time::sleep(BACKOFF).await;
        }
    };
    let given = tokio::time::timeout(PATIENCE, attempts).await;
    given.map_err(|_| Error::unavailable(format!("no master gave this tablet server an id within {} s; last: {last}", PATIENCE.as_secs())))
}

/// Whichever master answers, over one connection as long as it does: each tablet that opens has something to ask.
pub struct Masters {
    net: SharedNet,
    addresses: Vec<String>,
    /// Held for a copy or a replacement.
    connected: Mutex<Option<MasterClient<Channel>>>,
}

impl Masters {
    /// One of these.
    #[must_use]
    pub fn new(net: SharedNet, addresses: Vec<String>) -> Self {
        Self { net, addresses, connected: Mutex::new(None) }
    }

    fn connected(&self) -> MutexGuard<'_, Option<MasterClient<Channel>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits a command to the first master that answers; a refusal is an answer.
    ///
    /// # Errors
    /// Of the command; `Unavailable` if no master can be reached.
    pub async fn submit(&self, command: &Command) -> Result<Reply> {
        let document = Json::of(command)?;
        let mut last = Error::invalid("no master address is configured");
        let kept = self.connected().clone();
        if let Some(client) = kept {
            match send(client, &document).await {
                Err(e) if is_no_answer(&e) => *self.connected() = None,
                answer => return answer,
            }
        }
        for address in &self.addresses {
            let answer = async {
                let client = connect(&self.net, address).await?;
                Ok((send(client.clone(), &document).await, client))
            };
            match answer.await {
                Ok((Err(e), _)) | Err(e) if is_no_answer(&e) => last = e.context(format!("master {address}")),
                Ok((answer, client)) => {
                    *self.connected() = Some(client);
                    return answer;
                }
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }
}

async fn send(mut client: MasterClient<Channel>, document: &Json) -> Result<Reply> {
    let answer = tokio::time::timeout(ANSWER, client.submit(document.clone())).await;
    answer.map_err(|_| Error::deadline("no answer"))?.map_err(Error::from)?.into_inner().parse()
}

fn is_no_answer(e: &Error) -> bool {
    matches!(e.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}

async fn ask(net: &SharedNet, address: &str) -> Result<ServerId> {
    let answer = connect(net, address).await?.submit(Json::of(&Command::RegisterServer)?).await?;
    match answer.into_inner().parse()? {
        Reply::Registered { server } => Ok(server),
        other => Err(Error::internal(format!("a request for a server id was answered with {other:?}"))),
    }
}
