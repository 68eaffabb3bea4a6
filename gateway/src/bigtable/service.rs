use super::messages::{MutateRowRequest, MutateRowResponse, MutateRowsRequest, MutateRowsResponse, RowEntry, RowOutcome, RpcStatus};
use super::mutations::Rows;
use super::server::bigtable_server::Bigtable;
use super::{names, status};
use crate::cluster::Cluster;
use crate::writes::{Admission, write_each};
use common::row::Committed;
use common::{Error, Result, limits};
use futures::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Rows whose outcomes are told in one message: clients take 4 MiB at most, and a refusal may have a long reason.
const OUTCOMES: usize = 1_000;

/// The methods that there are.
pub struct Service {
    pub cluster: Arc<Cluster>,
    pub admission: Arc<Admission>,
}

#[tonic::async_trait]
impl Bigtable for Service {
    type MutateRowsStream = BoxStream<'static, Result<MutateRowsResponse, Status>>;

    async fn mutate_row(&self, request: Request<MutateRowRequest>) -> Result<Response<MutateRowResponse>, Status> {
        let MutateRowRequest { table_name, row_key, mutations, authorized_view_name } = request.into_inner();
        let entries = vec![RowEntry { row_key, mutations }];
        let outcome = self.write(&table_name, &authorized_view_name, entries).await.map(|mut all| all.pop());
        match outcome {
            Ok(Some(Ok(_))) => Ok(Response::new(MutateRowResponse {})),
            Ok(Some(Err(e))) | Err(e) => Err(status::of_call(&e)),
            Ok(None) => Err(Status::internal("a row without a result")),
        }
    }

    async fn mutate_rows(&self, request: Request<MutateRowsRequest>) -> Result<Response<Self::MutateRowsStream>, Status> {
        let MutateRowsRequest { table_name, entries, authorized_view_name } = request.into_inner();
        let outcomes = self.write(&table_name, &authorized_view_name, entries).await.map_err(|e| status::of_call(&e))?;
        Ok(Response::new(stream::iter(told(&outcomes).into_iter().map(Ok)).boxed()))
    }
}

impl Service {
    /// Writes rows; one result a row, in order. An error concerns all of them.
    async fn write(&self, table: &str, view: &str, entries: Vec<RowEntry>) -> Result<Vec<Result<Committed>>> {
        names::no_view(view)?;
        let table = self.cluster.writable(names::table(table)?)?;
        check(&entries)?;
        let turn = self.admission.turn().await?;
        let rows = Rows::of(&table);
        let rows: Vec<_> = entries.into_iter().map(|entry| rows.row(entry.row_key, entry.mutations)).collect();
        drop(turn);
        write_each(&self.cluster, &table, rows).await
    }
}

fn check(entries: &[RowEntry]) -> Result<()> {
    let (count, most) = (entries.iter().map(|e| e.mutations.len()).sum::<usize>(), limits::MAX_MUTATIONS_PER_REQUEST);
    match count {
        _ if entries.is_empty() => Err(Error::invalid("no entries: name at least one row")),
        _ if count > most => {
            Err(Error::invalid(format!("{count} mutations in one request; at most {most} are allowed: send them in parts")))
        }
        _ => Ok(()),
    }
}

/// What became of all rows, in messages of bounded size.
fn told(outcomes: &[Result<Committed>]) -> Vec<MutateRowsResponse> {
    let row_status = |outcome: &Result<Committed>| outcome.as_ref().err().map_or_else(RpcStatus::default, status::of_row);
    let outcome = |(at, outcome)| RowOutcome { index: at as i64, status: Some(row_status(outcome)) };
    let all: Vec<_> = outcomes.iter().enumerate().map(outcome).collect();
    all.chunks(OUTCOMES).map(|some| MutateRowsResponse { entries: some.to_vec() }).collect()
}
