//! Finding a master that answers.

use common::ids::ServerId;
use common::rpc::Json;
use common::rpc::channel;

use common::rpc::master::{Command, Reply};
use common::rpc::master_service::master_client::MasterClient;
use common::rpc::net::SharedNet;
use common::{Error, ErrorKind, Result, limits};
use std::time::Duration;
use tonic::transport::Channel;

/// How long an empty volume looks for a leader that gives it an id.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for one master.
const ATTEMPT: Duration = Duration::from_secs(5);
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

/// Submits a command to the first master that answers; a refusal is an answer.
///
/// # Errors
/// Of the command; `Unavailable` if no master can be reached.
pub async fn submit(net: &SharedNet, masters: &[String], command: &Command) -> Result<Reply> {
    let mut last = Error::invalid("no master address is configured");
    for address in masters {
        let answer = async { connect(net, address).await?.submit(Json::of(command)?).await.map_err(Error::from) };
        match answer.await {
            Ok(reply) => return reply.into_inner().parse(),
            Err(e) if matches!(e.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => {
                last = e.context(format!("master {address}"))
            }
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

async fn ask(net: &SharedNet, address: &str) -> Result<ServerId> {
    let answer = connect(net, address).await?.submit(Json::of(&Command::RegisterServer)?).await?;
    match answer.into_inner().parse()? {
        Reply::Registered { server } => Ok(server),
        other => Err(Error::internal(format!("a request for a server id was answered with {other:?}"))),
    }
}
