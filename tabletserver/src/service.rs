//! `stele.v1.Tablets`: requests in, answers out. Every answer passes the lease once more before it is sent,
//! except to what has become durable: that is true whoever owns the tablet now.

mod conditional;
mod derived;
mod read;
mod scan;
mod write;

use crate::host::Host;
use crate::pool::ScanPool;
use common::Result;
use common::rpc::tablet::{
    ApplyRequest, ArrowChunk, ChangesRequest, ConditionalRequest, ConditionalResponse, DeleteRangeRequest, DeleteRangeResponse, Done,
    DropStagedRequest, ReadRequest, ReadResponse, ScanRequest, StageRequest, StatusRequest, StatusResponse, WriteRequest, WriteResponse,
};
use common::rpc::tablets_service::tablets_server::Tablets;
use common::threads::Threads;
use futures::stream::BoxStream;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service of one tablet server.
#[derive(Debug)]
pub struct TabletsService {
    host: Arc<Host>,
    pool: ScanPool,
}

impl TabletsService {
    /// Serves the tablets of `host`.
    ///
    /// # Errors
    /// `Unavailable` if there are no threads for scans.
    pub fn new(host: Arc<Host>, threads: Threads) -> Result<Self> {
        Ok(Self { host, pool: ScanPool::new(threads)? })
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Tablets for TabletsService {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;
    type ScanStream = BoxStream<'static, Result<ArrowChunk, Status>>;
    type ChangesStream = BoxStream<'static, Result<ArrowChunk, Status>>;

    async fn write(&self, request: Request<WriteRequest>) -> Answer<WriteResponse> {
        Ok(Response::new(write::write(&self.host, request.into_inner()).await?))
    }

    async fn delete_range(&self, request: Request<DeleteRangeRequest>) -> Answer<DeleteRangeResponse> {
        Ok(Response::new(write::delete_range(&self.host, request.into_inner()).await?))
    }

    async fn conditional(&self, request: Request<ConditionalRequest>) -> Answer<ConditionalResponse> {
        Ok(Response::new(conditional::conditional(&self.host, request.into_inner()).await?))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Answer<Self::ReadStream> {
        Ok(Response::new(read::read(self.host.clone(), request.into_inner()).await?))
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Answer<Self::ScanStream> {
        Ok(Response::new(scan::scan(&self.host, &self.pool, request.into_inner()).await?))
    }

    async fn changes(&self, request: Request<ChangesRequest>) -> Answer<Self::ChangesStream> {
        Ok(Response::new(scan::changes(&self.host, &self.pool, request.into_inner()).await?))
    }

    async fn stage(&self, request: Request<StageRequest>) -> Answer<Done> {
        Ok(Response::new(derived::stage(&self.host, request.into_inner()).await?))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<Done> {
        Ok(Response::new(derived::apply(&self.host, request.into_inner()).await?))
    }

    async fn drop_staged(&self, request: Request<DropStagedRequest>) -> Answer<Done> {
        Ok(Response::new(derived::drop_staged(&self.host, request.into_inner()).await?))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        Ok(Response::new(read::status(&self.host, request.into_inner())?))
    }
}
