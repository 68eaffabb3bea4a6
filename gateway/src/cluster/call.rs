use super::Cluster;
use super::patience::Patience;
use common::ids::{TableId, TabletId};
use common::rpc::tablet::Target;
use common::rpc::tablets_service::tablets_client::TabletsClient;
use common::{Error, ErrorKind, Result};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// How long a tablet that moves, restarts or pushes back is waited for.
pub(super) const TRY_FOR: Duration = Duration::from_secs(10);

/// One attempt. A server that is gone is noticed sooner, by its connection; this is for one that is stuck.
const ATTEMPT: Duration = Duration::from_secs(30);

pub(super) type Client = TabletsClient<Channel>;

impl Cluster {
    /// A client of the server that owns a tablet now.
    pub(super) fn client(&self, table: TableId, tablet: TabletId) -> Result<Client> {
        let view = self.view();
        self.channels.tablets(view.address(table, tablet)?, false)
    }

    /// The same over another connection.
    pub(super) fn spare_client(&self, table: TableId, tablet: TabletId) -> Result<Client> {
        let view = self.view();
        self.channels.tablets(view.address(table, tablet)?, true)
    }

    /// Waits a little before another try, shorter if the catalog changes; false if the patience is at its end.
    pub(super) async fn wait(&self, patience: &mut Patience, error: &Error) -> bool {
        let mut view = self.view.clone();
        view.mark_unchanged();
        let sooner = async {
            // A closed watch means that the process goes down: it says nothing new.
            if error.kind == ErrorKind::ResourceExhausted || view.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        patience.wait(error.retry_after, sooner).await
    }

    /// Calls the owner of a tablet until it answers, for as long as [`TRY_FOR`]. Only for calls that are harmless when repeated.
    pub(super) async fn call<T, F>(&self, table: TableId, tablet: TabletId, send: impl Fn(Client, Target) -> F) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut patience = Patience::of(TRY_FOR);
        loop {
            let error = match self.client(table, tablet) {
                Ok(client) => match answered(tablet, send(client, Target::new(table, tablet))).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(e) => e,
                },
                Err(e) => e,
            };
            let gone = self.view().tablet(table, tablet).is_none();
            if gone || !may_pass(&error) || !self.wait(&mut patience, &error).await {
                return Err(error);
            }
        }
    }
}

/// What a tablet's server says within the time of an attempt.
///
/// # Errors
/// `Unavailable` if it says nothing, else what it says.
pub(super) async fn answered<T>(tablet: TabletId, call: impl Future<Output = Result<T, Status>>) -> Result<T> {
    match tokio::time::timeout(ATTEMPT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::unavailable(format!("the server of tablet {tablet} has said nothing for {} s", ATTEMPT.as_secs()))),
    }
}

/// Whether the same call may succeed a little later.
pub(super) fn may_pass(error: &Error) -> bool {
    error.is_retryable() || error.kind == ErrorKind::Unavailable
}
