//! Scans and change scans: rows into Arrow on the scan pool, IPC pieces out.

use super::read::{clip, version};
use crate::batch::{BatchBuilder, IpcEncoder, Projection};
use crate::host::Host;
use crate::pool::{Permits, ScanPool};
use arrow::array::RecordBatch;
use bytes::Bytes;
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::{ReadSpec, Row, RowChange};
use common::rpc::tablet::{ArrowChunk, ChangesRequest, NEW_IMAGE, OLD_IMAGE, ScanRequest, required};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::sync::Arc;
use storage::Tablet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Rows a batch, if the request leaves it to us: DataFusion's own batch size.
const BATCH_ROWS: usize = 8192;
/// Bytes at which a batch is closed before it has all its rows, so that wide rows do not pile up.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes of one message; larger batches go in several.
const CHUNK_BYTES: usize = 2 << 20;
/// Messages made ahead of a slow reader.
const AHEAD: usize = 2;

/// The answer's stream.
pub type Chunks = BoxStream<'static, Result<ArrowChunk, Status>>;

/// Scans the asked columns.
pub async fn scan(host: &Arc<Host>, pool: &ScanPool, request: ScanRequest) -> Result<Chunks> {
    let tablet = host.tablet(request.target)?;
    let at = version(host, &tablet, request.at).await?;
    let projection = Arc::new(Projection::new(tablet.table(), &request.columns)?);
    let mut spec = clip(&tablet, required(request.spec, "spec")?);
    show_data_only(&mut spec, &projection);
    // The first permit is waited for inside, so a read begins only when there is a turn to make its batches.
    let rows = tablet.read(spec, at).map_err(|e| host.refuse(&tablet, e))?;
    let limit = if request.batch_rows == 0 { BATCH_ROWS } else { request.batch_rows as usize };
    let feed = Feed::new(rows, BatchBuilder::new(projection), limit, |row: Row, out| out.push(&row));
    Ok(send(host, pool, tablet, feed))
}

/// A typed row shows its newest values, all rows show, and those that Stele hides do not.
fn show_data_only(spec: &mut ReadSpec, projection: &Projection) {
    let data = projection.table().key_schema().data_range();
    spec.ranges = spec.ranges.iter().filter_map(|r| r.intersect(&data)).collect();
    spec.columns = projection.columns();
    spec.keep_empty_rows = true;
    spec.cells_per_column = 1;
}

/// Scans the changes of the asked columns.
pub async fn changes(host: &Arc<Host>, pool: &ScanPool, request: ChangesRequest) -> Result<Chunks> {
    let tablet = host.tablet(request.target)?;
    let to = match version(host, &tablet, request.to).await? {
        Seq::MAX => tablet.visible(),
        seq => seq,
    };
    let projection = Arc::new(Projection::new(tablet.table(), &request.columns)?);
    let data = projection.table().key_schema().data_range();
    let asked = request.range.map_or(KeyRange::ALL, Into::into);
    let range = asked.intersect(tablet.range()).and_then(|r| r.intersect(&data));
    let rows = match range {
        Some(range) if request.from < to.0 => tablet.changes(Seq(request.from), to, range).map_err(|e| host.refuse(&tablet, e))?,
        _ => futures::stream::empty().boxed(),
    };
    let images = BatchBuilder::with_images(projection.clone());
    let feed = Feed::new(rows, images, BATCH_ROWS, move |change, out| push_change(&projection, &change, out));
    Ok(send(host, pool, tablet, feed))
}

fn push_change(projection: &Projection, change: &RowChange, out: &mut BatchBuilder) -> Result<()> {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && projection.same(old, new)
    {
        return Ok(());
    }
    if let Some(old) = &change.old {
        out.push_image(old, OLD_IMAGE)?;
    }
    change.new.as_ref().map_or(Ok(()), |new| out.push_image(new, NEW_IMAGE))
}

/// Turns the engine's batches of rows into Arrow batches of their own size.
struct Feed<T, F> {
    source: BoxStream<'static, Result<Vec<T>>>,
    /// Read and not yet pushed.
    rest: std::vec::IntoIter<T>,
    builder: BatchBuilder,
    push: F,
    limit: usize,
}

impl<T, F: FnMut(T, &mut BatchBuilder) -> Result<()>> Feed<T, F> {
    fn new(source: BoxStream<'static, Result<Vec<T>>>, builder: BatchBuilder, limit: usize, push: F) -> Self {
        Self { source, rest: Vec::new().into_iter(), builder, push, limit }
    }

    /// The next batch; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            for row in self.rest.by_ref() {
                (self.push)(row, &mut self.builder)?;
                if self.builder.rows() >= self.limit || self.builder.bytes() >= BATCH_BYTES {
                    return self.builder.finish().map(Some);
                }
            }
            // The engine may have all rows at hand: without a pause here nobody would notice that the reader has gone.
            tokio::task::yield_now().await;
            match self.source.next().await {
                Some(rows) => self.rest = rows?.into_iter(),
                None if self.builder.rows() == 0 => return Ok(None),
                None => return self.builder.finish().map(Some),
            }
        }
    }
}

/// Makes batches on the pool and hands them out as long as there is a lease and a reader.
fn send<T, F>(host: &Arc<Host>, pool: &ScanPool, tablet: Tablet, mut feed: Feed<T, F>) -> Chunks
where
    T: Send + 'static,
    F: FnMut(T, &mut BatchBuilder) -> Result<()> + Send + 'static,
{
    let (chunks, out) = mpsc::channel(AHEAD);
    let (host, permits) = (host.clone(), pool.permits());
    pool.spawn(async move {
        let ended = tokio::select! {
            // The reader has gone: stop at once, in the middle of a batch.
            () = chunks.closed() => Ok(()),
            ended = produce(&host, &permits, &mut feed, &chunks) => ended,
        };
        if let Err(e) = ended {
            // A failed send means that nobody waits for the reason.
            let _ = chunks.send(Err(host.refuse(&tablet, e).into())).await;
        }
    });
    ReceiverStream::new(out).boxed()
}

type Outlet = mpsc::Sender<Result<ArrowChunk, Status>>;

async fn produce<T, F: FnMut(T, &mut BatchBuilder) -> Result<()>>(
    host: &Host,
    permits: &Permits,
    feed: &mut Feed<T, F>,
    chunks: &Outlet,
) -> Result<()> {
    let mut encoder = IpcEncoder::new(feed.builder.schema())?;
    loop {
        let (bytes, last) = {
            let _turn = permits.turn().await?;
            match feed.next().await? {
                Some(batch) => (encoder.encode(&batch)?, false),
                None => (encoder.finish()?, true),
            }
        };
        host.lease.check()?;
        if !hand_out(bytes, chunks).await || last {
            return Ok(());
        }
    }
}

/// Sends bytes in messages of a bounded size; `false`: the reader has gone.
async fn hand_out(mut bytes: Bytes, chunks: &Outlet) -> bool {
    while !bytes.is_empty() {
        let ipc = bytes.split_to(bytes.len().min(CHUNK_BYTES));
        if chunks.send(Ok(ArrowChunk { ipc })).await.is_err() {
            return false;
        }
    }
    true
}
