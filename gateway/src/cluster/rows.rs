//! Reads rows over many tablets as one stream in key order.

use super::Cluster;
use super::call::{Client, TRY_FOR, answered, may_pass};
use super::patience::Patience;
use super::version;
use bytes::Bytes;
use common::ids::TabletId;
use common::key::KeyRange;
use common::row::{ReadSpec, Row};
use common::rpc::tablet::{ReadRequest, ReadResponse, Target};
use common::schema::{Table, TableKind};
use common::version::VersionMap;
use common::{Error, Result};
use futures::stream::{BoxStream, StreamExt, try_unfold};
use std::sync::Arc;
use tonic::Streaming;

pub(super) fn read(
    cluster: Arc<Cluster>,
    table: Arc<Table>,
    spec: ReadSpec,
    at: Option<VersionMap>,
) -> BoxStream<'static, Result<Vec<Row>>> {
    let left = if spec.row_limit == 0 { u64::MAX } else { spec.row_limit };
    let remaining = merged(spec.ranges.clone());
    let cursor = Cursor { cluster, table, spec, at, remaining, left, open: None, patience: Patience::of(TRY_FOR) };
    try_unfold(cursor, |mut cursor| async { Ok(cursor.next().await?.map(|rows| (rows, cursor))) }).boxed()
}

/// Where a read stands: what of its ranges is still to come, and the stream it comes from.
struct Cursor {
    cluster: Arc<Cluster>,
    table: Arc<Table>,
    spec: ReadSpec,
    at: Option<VersionMap>,
    /// Sorted and disjoint; a read in reverse takes it from its end.
    remaining: Vec<KeyRange>,
    /// Rows still wanted.
    left: u64,
    open: Option<Open>,
    patience: Patience,
}

/// One tablet's rows as they come.
struct Open {
    tablet: TabletId,
    range: KeyRange,
    /// What came first, until it is taken.
    first: Option<Option<ReadResponse>>,
    stream: Streaming<ReadResponse>,
}

impl Open {
    async fn message(&mut self) -> Result<Option<ReadResponse>> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => answered(self.tablet, self.stream.message()).await,
        }
    }
}

/// The first message of a tablet's answer, and the others.
async fn begin(tablet: TabletId, mut client: Client, request: ReadRequest) -> Result<(Option<ReadResponse>, Streaming<ReadResponse>)> {
    let mut stream = answered(tablet, client.read(request)).await?.into_inner();
    Ok((answered(tablet, stream.message()).await?, stream))
}

impl Cursor {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        loop {
            if self.left == 0 || (self.remaining.is_empty() && self.open.is_none()) {
                return Ok(None);
            }
            match self.step().await {
                Ok(Some(rows)) => return Ok(Some(rows)),
                Ok(None) => {}
                Err(e) if may_pass(&e) && self.cluster.wait(&mut self.patience, &e).await => self.open = None,
                Err(e) => return Err(e),
            }
        }
    }

    /// Opens the next tablet's stream, or takes rows from the open one; `None`: nothing yet.
    async fn step(&mut self) -> Result<Option<Vec<Row>>> {
        let Some(open) = &mut self.open else {
            self.open = Some(self.open_next().await?);
            return Ok(None);
        };
        match open.message().await? {
            Some(message) => {
                self.patience = Patience::of(TRY_FOR);
                let rows: Vec<Row> = message.rows.into_iter().map(Into::into).collect();
                let Some(last) = rows.last() else { return Ok(None) };
                self.remaining = clip(&self.remaining, &beyond(&last.key, self.spec.reverse));
                self.left = self.left.saturating_sub(rows.len() as u64);
                Ok(Some(rows))
            }
            None => {
                let rest = if self.spec.reverse { before(&open.range.start) } else { after(open.range.end.clone()) };
                self.remaining = rest.map_or_else(Vec::new, |rest| clip(&self.remaining, &rest));
                self.open = None;
                Ok(None)
            }
        }
    }

    async fn open_next(&mut self) -> Result<Open> {
        if self.at.is_none() && self.table.kind == TableKind::Derived {
            self.at = Some(VersionMap::whole(version::published(&self.cluster, &self.table)?));
        }
        let (tablet, range) = self.next_tablet()?;
        let at = version::read_at(&self.cluster, &self.table, self.at.as_ref(), &range).await?;
        let ranges = clip(&self.remaining, &range);
        let row_limit = if self.left == u64::MAX { 0 } else { self.left };
        let spec = ReadSpec { ranges, row_limit, ..self.spec.clone() };
        let (cluster, table) = (&self.cluster, self.table.id);
        let request = ReadRequest { target: Some(Target::new(table, tablet)), spec: Some(spec.into()), at: Some(at) };
        let again = request.clone();
        let first = begin(tablet, cluster.client(table, tablet)?, request);
        let second = || async move { begin(tablet, cluster.spare_client(table, tablet)?, again).await };
        let (first, stream) = cluster.hedge.read(first, second).await?;
        Ok(Open { tablet, range, first: Some(first), stream })
    }

    fn next_tablet(&self) -> Result<(TabletId, KeyRange)> {
        let view = self.cluster.view();
        let none = || Error::internal("a read without ranges went on");
        let tablet = if self.spec.reverse {
            view.tablet_before(&self.table, self.remaining.last().ok_or_else(none)?.end.as_deref())?
        } else {
            view.tablet_at(&self.table, &self.remaining.first().ok_or_else(none)?.start)?
        };
        Ok((tablet.id, tablet.range.clone()))
    }
}

/// All keys that come after `key` in the order of the read.
fn beyond(key: &Bytes, reverse: bool) -> KeyRange {
    if reverse {
        KeyRange::new(Bytes::new(), Some(key.clone()))
    } else {
        KeyRange { start: KeyRange::single(key).end.unwrap_or_default(), end: None }
    }
}

fn before(start: &Bytes) -> Option<KeyRange> {
    (!start.is_empty()).then(|| KeyRange::new(Bytes::new(), Some(start.clone())))
}

fn after(end: Option<Bytes>) -> Option<KeyRange> {
    end.map(|end| KeyRange::new(end, None))
}

/// The parts of `ranges` within `bounds`, in their order.
pub(super) fn clip(ranges: &[KeyRange], bounds: &KeyRange) -> Vec<KeyRange> {
    ranges.iter().filter_map(|r| r.intersect(bounds)).collect()
}

/// The same keys as sorted ranges that neither touch nor overlap.
pub(super) fn merged(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.retain(|r| !r.is_empty());
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    let mut out: Vec<KeyRange> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if last.end.as_ref().is_none_or(|end| range.start <= *end) => {
                last.end = match (last.end.take(), range.end) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
            }
            _ => out.push(range),
        }
    }
    out
}
