//! Staging and publishing runs of derived tables.

use crate::host::Host;
use common::Result;
use common::ids::{RunId, Seq};
use common::row::RowMutation;
use common::rpc::tablet::{ApplyRequest, Done, DropStagedRequest, StageRequest};

/// Keeps rows of a run, all or none.
pub async fn stage(host: &Host, request: StageRequest) -> Result<Done> {
    let tablet = host.tablet(request.target)?;
    let rows = request.rows.into_iter().map(RowMutation::try_from).collect::<Result<_>>()?;
    tablet.stage(RunId(request.run), request.part, rows).await.map_err(|e| host.refuse(&tablet, e))?;
    Ok(Done {})
}

/// Publishes staged runs.
pub async fn apply(host: &Host, request: ApplyRequest) -> Result<Done> {
    let tablet = host.tablet(request.target)?;
    let runs: Vec<_> = request.runs.iter().map(|r| (RunId(r.run), Seq(r.version))).collect();
    host.publish(&tablet, &runs).await?;
    Ok(Done {})
}

/// Forgets an aborted run's rows.
pub async fn drop_staged(host: &Host, request: DropStagedRequest) -> Result<Done> {
    let tablet = host.tablet(request.target)?;
    tablet.drop_staged(RunId(request.run)).await.map_err(|e| host.refuse(&tablet, e))?;
    Ok(Done {})
}
