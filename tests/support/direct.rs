//! Calls to one process past the gateway, over a connection that stays while that process is paused.

use super::DEADLINE;
use common::catalog::Catalog;
use common::row::{Mutation, ReadSpec, RowMutation};
use common::rpc::Json;
use common::rpc::master::{Command, MasterNode, Orders, Reply, Report};
use common::rpc::master_service::master_client::MasterClient;
use common::rpc::tablet::{ReadAt, ReadRequest, StatusRequest, Target, WriteRequest};
use common::rpc::tablets_service::tablets_client::TabletsClient;
use common::schema::Table;
use common::value::Value;
use common::{Error, Result, key::KeyRange};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// A connection, made, without the pings that would end it when nobody answers.
pub struct Direct {
    runtime: Runtime,
    address: String,
    channel: Channel,
}

/// One tablet of a table with the key `k` and the column `v`, both integers.
#[derive(Clone)]
pub struct Place {
    pub table: Table,
    pub target: Target,
    /// Where its owner listens.
    pub address: String,
}

impl Direct {
    /// To the process that listens at `address`.
    pub fn to(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self { runtime, address: address.to_owned(), channel }
    }

    /// Where the process listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a call; its answer may come much later.
    pub fn begin<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.spawn(call)
    }

    /// Waits for the answer.
    pub fn end<T>(&self, call: JoinHandle<T>) -> T {
        let answer = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, call).await });
        answer.expect("a call is not answered").unwrap()
    }

    /// Sends a call and waits for its answer.
    pub fn call<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> T {
        self.end(self.begin(call))
    }

    /// Sets `v` of row `k`.
    pub fn write(&self, place: &Place, k: i64, v: i64) -> impl Future<Output = Result<()>> + Send + use<> {
        let mut client = TabletsClient::new(self.channel.clone());
        let column = place.table.column("v").unwrap();
        let set = Mutation::Set { family: column.family, qualifier: column.stored(), timestamp: None, value: Value::Int64(v).to_cell() };
        let row = RowMutation { key: place.key(k), mutations: vec![set] };
        let request_id = common::store::nonce().to_be_bytes().to_vec().into();
        let request = WriteRequest { target: Some(place.target), request_id, rows: vec![row.into()], internal: false };
        async move {
            let answer = client.write(request).await?.into_inner();
            answer.results[0].error().map_or(Ok(()), Err)
        }
    }

    /// `v` of row `k`, if there is one.
    pub fn read(&self, place: &Place, k: i64) -> impl Future<Output = Result<Option<i64>>> + Send + use<> {
        let mut client = TabletsClient::new(self.channel.clone());
        let spec = ReadSpec { ranges: vec![KeyRange::single(&place.key(k))], ..ReadSpec::default() };
        let request = ReadRequest { target: Some(place.target), spec: Some(spec.into()), at: Some(ReadAt::newest()) };
        let column = place.table.column("v").unwrap().clone();
        async move {
            let mut rows = client.read(request).await?.into_inner();
            let first = rows.message().await?.and_then(|m| m.rows.into_iter().next());
            let Some(row) = first.map(common::row::Row::from) else { return Ok(None) };
            match Value::from_cell(column.ty, &row.cells[0].value)? {
                Value::Int64(v) => Ok(Some(v)),
                other => Err(Error::internal(format!("{other:?}"))),
            }
        }
    }

    /// Bytes in the memtables of a tablet.
    pub fn unflushed(&self, target: Target) -> impl Future<Output = Result<u64>> + Send + use<> {
        let mut client = TabletsClient::new(self.channel.clone());
        async move { Ok(client.status(StatusRequest { target: Some(target) }).await?.into_inner().memtable_bytes) }
    }

    /// Submits a command to a master.
    pub fn submit(&self, command: &Command) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let (mut client, command) = (self.master(), Json::of(command).unwrap());
        async move { client.submit(command).await?.into_inner().parse() }
    }

    /// The catalog of a master.
    pub fn catalog(&self) -> impl Future<Output = Result<Catalog>> + Send + use<> {
        let reply = self.submit(&Command::GetCatalog);
        async move {
            match reply.await? {
                Reply::Catalog(catalog) => Ok(*catalog),
                other => Err(Error::internal(format!("{other:?}"))),
            }
        }
    }

    /// The masters as one of them sees them.
    pub fn masters(&self) -> Result<Vec<MasterNode>> {
        match self.call(self.submit(&Command::ListMasters))? {
            Reply::Masters { nodes } => Ok(nodes),
            other => Err(Error::internal(format!("{other:?}"))),
        }
    }

    /// A heartbeat stream: reports go in, orders come out until it ends.
    pub fn heartbeat(&self) -> (mpsc::UnboundedSender<Report>, mpsc::UnboundedReceiver<Orders>) {
        let (mut client, (reports, mut sent), (down, orders)) = (self.master(), mpsc::unbounded_channel(), mpsc::unbounded_channel());
        self.runtime.spawn(async move {
            let up = futures::stream::poll_fn(move |cx| sent.poll_recv(cx).map(|r: Option<Report>| r.map(|r| Json::of(&r).unwrap())));
            let mut answers = client.heartbeat(up).await.ok()?.into_inner();
            while let Ok(Some(answer)) = answers.message().await {
                down.send(answer.parse().unwrap()).ok()?;
            }
            Some(())
        });
        (reports, orders)
    }

    /// Waits for something of this connection.
    pub fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await }).expect("nothing has come")
    }

    fn master(&self) -> MasterClient<Channel> {
        MasterClient::new(self.channel.clone()).max_decoding_message_size(common::limits::MAX_RPC_MESSAGE_BYTES)
    }
}

impl Place {
    /// What a table of such rows is made of.
    pub fn spec(name: &str) -> serde_json::Value {
        json!({ "name": name, "key": [{ "k": "int64" }], "columns": { "v": "int64" } })
    }

    /// Where the only tablet of a table is open; `None` while it is not.
    pub fn of(catalog: &Catalog, name: &str) -> Option<Self> {
        let table = catalog.table(name)?.clone();
        let tablet = catalog.tablets_of(table.id).iter().find(|t| t.open)?;
        Some(Self {
            target: Target::new(table.id, tablet.id),
            address: catalog.address_of(tablet)?.to_owned(),
            table: Table::clone(&table),
        })
    }

    fn key(&self, k: i64) -> bytes::Bytes {
        self.table.key_schema().encode(&[Some(Value::Int64(k))]).unwrap()
    }
}
