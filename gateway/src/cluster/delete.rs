//! Deletes the rows of key ranges, whatever number of tablets they lie in.
//!
//! Each tablet deletes its part at once, as one record, and decides it once however often it is asked. There is no moment at
//! which all parts go together, and nothing is kept of a delete that ends on its way: the same delete again does the rest,
//! and what was written into the range meanwhile goes with it.

use super::Cluster;
use super::call::{TRY_FOR, answered, may_pass};
use super::patience::Patience;
use super::router::AT_ONCE;
use common::ids::TabletId;
use common::key::KeyRange;
use common::rpc::tablet::{DeleteRangeRequest, Target};
use common::schema::Table;
use common::{Error, ErrorKind, Result};
use futures::stream::{self, StreamExt};

/// What lies in one tablet.
struct Part {
    tablet: TabletId,
    range: KeyRange,
    request: DeleteRangeRequest,
}

/// Deletes all rows of these ranges; how many parts of tablets that was.
pub(super) async fn delete(cluster: &Cluster, table: &Table, mut left: Vec<KeyRange>) -> Result<usize> {
    let (mut patience, mut done) = (Patience::of(TRY_FOR), 0);
    loop {
        let parts = parts(cluster, table, &left)?;
        let mut sent = stream::iter(parts).map(|part| deliver(cluster, table, part)).buffer_unordered(AT_ONCE);
        left.clear();
        let mut refused = None;
        while let Some((range, outcome)) = sent.next().await {
            match outcome {
                Ok(()) => done += 1,
                // Surely not deleted: a new part of whichever tablet has it now.
                Err(e) if e.is_retryable() => {
                    left.push(range);
                    refused = Some(e);
                }
                Err(e) => return Err(some_are_deleted(e, done)),
            }
        }
        let Some(e) = refused else { return Ok(done) };
        if !cluster.wait(&mut patience, &e).await {
            return Err(some_are_deleted(e, done));
        }
    }
}

fn some_are_deleted(e: Error, parts: usize) -> Error {
    if parts == 0 {
        e
    } else {
        e.context(format!("the rows of {parts} parts of the range are deleted, send the same again for the others"))
    }
}

/// The ranges cut by tablets, each part under a new request id.
fn parts(cluster: &Cluster, table: &Table, ranges: &[KeyRange]) -> Result<Vec<Part>> {
    let view = cluster.view();
    let tablets = view.tablets(table)?;
    let cut = ranges.iter().flat_map(|range| tablets.iter().filter_map(|t| Some((t.id, t.range.intersect(range)?))));
    let part = |(tablet, range): (TabletId, KeyRange)| {
        let (target, request_id) = (Some(Target::new(table.id, tablet)), rand::random::<[u8; 16]>().to_vec().into());
        Part { tablet, request: DeleteRangeRequest { target, request_id, range: Some(range.clone().into()) }, range }
    };
    Ok(cut.map(part).collect())
}

/// Sends a part until its outcome is known or the patience is at its end. A retryable error means: surely not deleted.
async fn deliver(cluster: &Cluster, table: &Table, part: Part) -> (KeyRange, Result<()>) {
    let (mut patience, mut uncertain) = (Patience::of(TRY_FOR), false);
    loop {
        let error = match send_once(cluster, table, &part).await {
            Ok(()) => return (part.range, Ok(())),
            Err(e) => e,
        };
        uncertain |= matches!(error.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded);
        // A tablet that was split or merged knows of a delete of more or fewer rows than this part has.
        let gone = cluster.view().tablet(table.id, part.tablet).is_none();
        let refused = error.is_retryable() && !uncertain;
        let again = may_pass(&error) || error.kind == ErrorKind::DeadlineExceeded;
        if !again || refused || gone || !cluster.wait(&mut patience, &error).await {
            let error = if uncertain && again { unknown(&error) } else { error };
            return (part.range, Err(error));
        }
    }
}

fn unknown(e: &Error) -> Error {
    Error::unavailable(format!("it is not known whether all rows of the range are deleted: send the same again ({e})"))
}

async fn send_once(cluster: &Cluster, table: &Table, part: &Part) -> Result<()> {
    let mut client = cluster.client(table.id, part.tablet)?;
    answered(part.tablet, client.delete_range(part.request.clone())).await.map(|_| ())
}
