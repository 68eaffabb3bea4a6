use super::node::Node;
use super::{forward, heartbeat, submit, watch};
use common::rpc::Json;
use common::rpc::master::WatchRequest;
use common::rpc::master_service::master_server::Master as Rpc;
use futures::stream::BoxStream;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Messages that wait for a slow reader; only the newest state is ever sent, so few are enough.
const QUEUED: usize = 2;

/// `stele.v1.Master`.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) node: Arc<Node>,
}

type Answers = BoxStream<'static, Result<Json, Status>>;

#[async_trait::async_trait]
impl Rpc for Service {
    type HeartbeatStream = Answers;
    type WatchStream = Answers;

    async fn submit(&self, request: Request<Json>) -> Result<Response<Json>, Status> {
        if let Some(leader) = forward::leader(&self.node, request.metadata())? {
            return forward::submit(leader, request.into_inner()).await.map(Response::new);
        }
        let reply = submit::submit(&self.node, request.into_inner().parse()?).await?;
        Ok(Response::new(Json::of(&reply)?))
    }

    async fn heartbeat(&self, request: Request<Streaming<Json>>) -> Result<Response<Answers>, Status> {
        if let Some(leader) = forward::leader(&self.node, request.metadata())? {
            return forward::heartbeat(leader, request.into_inner()).await.map(Response::new);
        }
        let (down, answers) = mpsc::channel(QUEUED);
        tokio::spawn(heartbeat::serve(self.node.clone(), request.into_inner(), down));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn watch(&self, request: Request<Json>) -> Result<Response<Answers>, Status> {
        if let Some(leader) = forward::leader(&self.node, request.metadata())? {
            return forward::watch(leader, request.into_inner()).await.map(Response::new);
        }
        let known = request.into_inner().parse::<WatchRequest>()?.known;
        let (down, answers) = mpsc::channel(QUEUED);
        tokio::spawn(watch::serve(self.node.clone(), known, down));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
