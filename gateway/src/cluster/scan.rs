//! Scans and change scans: Arrow from one tablet after the other.

use super::Cluster;
use super::call::answered;
use super::rows::{clip, merged};
use super::version;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use common::catalog::Tablet;
use common::ids::{Seq, TabletId};
use common::row::ReadSpec;
use common::rpc::tablet::{ArrowChunk, ChangesRequest, ScanRequest};
use common::schema::{Table, TableKind};
use common::version::VersionMap;
use common::{Error, Result};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt, try_unfold};
use std::sync::Arc;
use tonic::Streaming;

type Batches = BoxStream<'static, Result<RecordBatch>>;

pub(super) fn scan(cluster: Arc<Cluster>, table: Arc<Table>, columns: Vec<String>, spec: ReadSpec, at: Option<VersionMap>) -> Batches {
    let limit = if spec.row_limit == 0 { u64::MAX } else { spec.row_limit };
    let start = async move {
        let at = fixed(&cluster, &table, at)?;
        let mut tablets = cluster.view().tablets(&table)?.to_vec();
        if spec.reverse {
            tablets.reverse();
        }
        let each = move |t| scan_tablet(cluster.clone(), table.clone(), t, columns.clone(), spec.clone(), at.clone());
        Ok::<_, Error>(stream::iter(tablets).flat_map(each))
    };
    limited(stream::once(start).try_flatten().boxed(), limit)
}

/// Cuts a stream after `left` rows, so that later tablets are not even asked.
fn limited(batches: Batches, left: u64) -> Batches {
    if left == u64::MAX {
        return batches;
    }
    let next = |(mut batches, left): (Batches, u64)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(batch) = batches.try_next().await? else { return Ok(None) };
        let rows = (batch.num_rows() as u64).min(left);
        Ok(Some((batch.slice(0, rows as usize), (batches, left - rows))))
    };
    try_unfold((batches, left), next).boxed()
}

/// A derived table is read at one version, fixed here.
fn fixed(cluster: &Cluster, table: &Table, at: Option<VersionMap>) -> Result<Option<VersionMap>> {
    match at {
        None if table.kind == TableKind::Derived => Ok(Some(VersionMap::whole(version::published(cluster, table)?))),
        at => Ok(at),
    }
}

pub(super) fn scan_tablet(
    cluster: Arc<Cluster>,
    table: Arc<Table>,
    tablet: Tablet,
    columns: Vec<String>,
    spec: ReadSpec,
    at: Option<VersionMap>,
) -> Batches {
    let bounds = table.key_schema().data_range().intersect(&tablet.range);
    let ranges = bounds.map_or_else(Vec::new, |bounds| clip(&merged(spec.ranges.clone()), &bounds));
    if ranges.is_empty() {
        return stream::empty().boxed();
    }
    let start = async move {
        let at = fixed(&cluster, &table, at)?;
        let at = version::read_at(&cluster, &table, at.as_ref(), &tablet.range).await?;
        let spec = ReadSpec { ranges, keep_empty_rows: true, ..spec };
        let request = ScanRequest { target: None, spec: Some(spec.into()), at: Some(at), columns, batch_rows: 0 };
        let send = |mut client: super::call::Client, target| {
            let request = ScanRequest { target: Some(target), ..request.clone() };
            async move { client.scan(request).await }
        };
        let chunks = cluster.call(table.id, tablet.id, send).await?;
        Ok::<_, Error>(decoded(tablet.id, chunks))
    };
    stream::once(start).try_flatten().boxed()
}

pub(super) fn changes(cluster: Arc<Cluster>, table: Arc<Table>, columns: Vec<String>, from: &VersionMap, to: &VersionMap) -> Batches {
    let (from, to) = (from.clone(), to.clone());
    let start = async move {
        let tablets = cluster.view().tablets(&table)?.to_vec();
        let each = move |t: Tablet| {
            let (from, to) = (from.lowest(&t.range), to.lowest(&t.range));
            if from >= to { stream::empty().boxed() } else { changes_of(cluster.clone(), table.clone(), t, columns.clone(), from, to) }
        };
        Ok::<_, Error>(stream::iter(tablets).flat_map(each))
    };
    stream::once(start).try_flatten().boxed()
}

/// The changes of one tablet in `(from, to]`.
fn changes_of(cluster: Arc<Cluster>, table: Arc<Table>, tablet: Tablet, columns: Vec<String>, from: Seq, to: Seq) -> Batches {
    let start = async move {
        let Some(range) = table.key_schema().data_range().intersect(&tablet.range) else {
            return Ok(stream::empty().boxed());
        };
        let to = version::read_at(&cluster, &table, Some(&VersionMap::whole(to)), &tablet.range).await?;
        let request = ChangesRequest { target: None, from: from.0, to: Some(to), columns, range: Some(range.into()) };
        let send = |mut client: super::call::Client, target| {
            let request = ChangesRequest { target: Some(target), ..request.clone() };
            async move { client.changes(request).await }
        };
        let chunks = cluster.call(table.id, tablet.id, send).await?;
        Ok::<_, Error>(decoded(tablet.id, chunks))
    };
    stream::once(start).try_flatten().boxed()
}

/// What of an Arrow IPC stream has come in and is not decoded.
struct Decoding {
    tablet: TabletId,
    chunks: Streaming<ArrowChunk>,
    decoder: StreamDecoder,
    buffer: Buffer,
}

fn decoded(tablet: TabletId, chunks: Streaming<ArrowChunk>) -> Batches {
    let decoding = Decoding { tablet, chunks, decoder: StreamDecoder::new(), buffer: Buffer::from(Vec::<u8>::new()) };
    try_unfold(decoding, |mut d| async { Ok(d.next().await?.map(|batch| (batch, d))) }).boxed()
}

impl Decoding {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let damaged = |e| Error::unavailable(format!("a scan's Arrow stream is damaged: {e}"));
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.buffer).map_err(damaged)? {
                return Ok(Some(batch));
            }
            match answered(self.tablet, self.chunks.message()).await? {
                Some(chunk) => self.buffer = Buffer::from(chunk.ipc),
                None => {
                    self.decoder.finish().map_err(damaged)?;
                    return Ok(None);
                }
            }
        }
    }
}
