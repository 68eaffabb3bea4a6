//! One request by either API, and what its answer means.

use crate::driver::End;
use crate::events::{Api, TABLE};
use bytes::{BufMut, Bytes};
use gateway::bigtable::messages::MutateRowsResponse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstDecoder;

/// A request without an answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const MUTATE_ROWS: &str = "/google.bigtable.v2.Bigtable/MutateRows";

/// Sends requests to one gateway.
pub enum Client {
    Rest { client: reqwest::Client, url: String },
    Bigtable { channels: Vec<Channel>, next: AtomicUsize },
}

impl Client {
    /// To the gateway at `http://host:port`; connects with the first request. Over gRPC by several connections, as Google's clients do.
    pub fn new(api: Api, url: &str, connections: usize) -> Self {
        match api {
            Api::Rest => {
                let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
                Self::Rest { client, url: format!("{url}/v1/tables/{TABLE}/ingest") }
            }
            Api::Bigtable => {
                let endpoint = Endpoint::from_shared(url.to_owned()).unwrap().tcp_nodelay(true).timeout(PATIENCE);
                Self::Bigtable { channels: (0..connections).map(|_| endpoint.connect_lazy()).collect(), next: AtomicUsize::new(0) }
            }
        }
    }

    /// Sends a request that is encoded already.
    pub async fn send(&self, body: Vec<u8>) -> End {
        match self {
            Self::Rest { client, url } => rest(client, url, body).await,
            Self::Bigtable { channels, next } => {
                let channel = channels[next.fetch_add(1, Ordering::Relaxed) % channels.len()].clone();
                mutate_rows(channel, body).await.unwrap_or_else(|status| meaning(status.code()))
            }
        }
    }
}

async fn rest(client: &reqwest::Client, url: &str, body: Vec<u8>) -> End {
    let request = client.post(url).header("content-type", "application/x-ndjson").body(body);
    let Ok(answer) = request.send().await else { return End::Failed(0) };
    let status = answer.status().as_u16();
    // Read to its end, so that the connection is used again.
    let whole = answer.bytes().await.is_ok();
    match status {
        200 if whole => End::Stored,
        429 | 503 => End::Refused,
        other => End::Failed(other),
    }
}

async fn mutate_rows(channel: Channel, body: Vec<u8>) -> Result<End, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|e| Status::unknown(e.to_string()))?;
    let mut answer = grpc.server_streaming(Request::new(body.into()), MUTATE_ROWS.parse().unwrap(), Encoded).await?.into_inner();
    let mut end = End::Stored;
    while let Some(message) = answer.message().await? {
        let codes = message.entries.into_iter().map(|entry| entry.status.unwrap_or_default().code);
        for code in codes.filter(|code| *code != 0) {
            end = meaning(Code::from(code));
        }
    }
    Ok(end)
}

fn meaning(code: Code) -> End {
    match code {
        Code::ResourceExhausted | Code::Unavailable => End::Refused,
        other => End::Failed(other as u16),
    }
}

/// Requests that are bytes already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = MutateRowsResponse;
    type Encoder = Self;
    type Decoder = ProstDecoder<MutateRowsResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}
