//! Reads of cells and a tablet's status.

use crate::host::Host;
use common::ids::{RunId, Seq};
use common::row::{ReadSpec, Row};
use common::rpc::tablet::{ReadAt, ReadRequest, ReadResponse, StatusRequest, StatusResponse, WireReadSpec, required};
use common::schema::TableKind;
use common::{Error, Result, limits};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::sync::Arc;
use storage::Tablet;
use tonic::Status;

/// Streams rows in key order, one message an engine batch.
pub async fn read(host: Arc<Host>, request: ReadRequest) -> Result<BoxStream<'static, Result<ReadResponse, Status>>> {
    let tablet = host.tablet(request.target)?;
    let at = version(&host, &tablet, request.at).await?;
    let spec = clip(&tablet, required(request.spec, "spec")?);
    let rows = tablet.read(spec, at).map_err(|e| host.refuse(&tablet, e))?;
    let meter = host.registry.meter(tablet.id());
    let answer = move |batch: Result<Vec<Row>>| {
        let rows = batch.map_err(|e| host.refuse(&tablet, e))?;
        meter.read(rows.len(), || rows.get(rows.len() / 2).map(|row| row.key.clone()));
        rows.iter().try_for_each(check_row)?;
        // The result is collected: whoever lost the lease meanwhile must not hand it out.
        host.lease.check()?;
        Ok(ReadResponse { rows: rows.into_iter().map(Into::into).collect() })
    };
    Ok(rows.map(answer).boxed())
}

/// A tablet's state; its visible seq is the snapshot that readers go on with.
pub fn status(host: &Host, request: StatusRequest) -> Result<StatusResponse> {
    let tablet = host.tablet(request.target)?;
    let stats = tablet.stats();
    let status = StatusResponse {
        visible_seq: tablet.visible().0,
        floor: tablet.floor().0,
        range: Some(tablet.range().clone().into()),
        stored_bytes: stats.stored_bytes,
        memtable_bytes: stats.memtable_bytes,
        row_estimate: stats.row_estimate,
    };
    host.lease.check()?;
    Ok(status)
}

/// The seq to read at. A derived table's tablet first applies the published runs that lead there.
pub(super) async fn version(host: &Host, tablet: &Tablet, at: Option<ReadAt>) -> Result<Seq> {
    let at = at.unwrap_or_else(ReadAt::newest);
    let wanted = Seq(at.seq);
    if wanted == Seq::MAX || wanted <= tablet.visible() {
        return Ok(wanted);
    }
    if tablet.table().kind == TableKind::Derived {
        let runs: Vec<_> = at.runs.iter().filter(|r| r.version <= at.seq).map(|r| (RunId(r.run), Seq(r.version))).collect();
        host.publish(tablet, &runs).await?;
    }
    if wanted <= tablet.visible() {
        return Ok(wanted);
    }
    Err(Error::unavailable(format!("tablet {} is at version {}, below the {wanted} asked for: read again", tablet.id(), tablet.visible())))
}

/// The request's spec within the tablet's range.
pub(super) fn clip(tablet: &Tablet, spec: WireReadSpec) -> ReadSpec {
    let mut spec = ReadSpec::from(spec);
    spec.ranges = spec.ranges.iter().filter_map(|r| r.intersect(tablet.range())).collect();
    spec
}

/// A row goes in one message.
fn check_row(row: &Row) -> Result<()> {
    /// What a cell takes in a message beside its qualifier and value.
    const CELL: usize = 32;
    let bytes: usize = row.key.len() + row.cells.iter().map(|c| CELL + c.qualifier.len() + c.value.len()).sum::<usize>();
    if bytes < limits::MAX_RPC_MESSAGE_BYTES {
        return Ok(());
    }
    let (key, max) = (row.key.escape_ascii(), limits::MAX_RPC_MESSAGE_BYTES);
    Err(Error::refused(format!("row '{key}' has {bytes} bytes; one answer holds at most {max}: read fewer columns or versions")))
}
