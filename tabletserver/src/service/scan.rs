//! Scans and change scans: batches made on the scan pool, IPC pieces out.

use super::read::{clip, version};
use crate::host::Host;
use crate::ipc::IpcEncoder;
use crate::pool::{Permits, ScanPool};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::RowChange;
use common::rpc::tablet::{ArrowChunk, ChangesRequest, IMAGE_COLUMN, NEW_IMAGE, OLD_IMAGE, ScanRequest, required};
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use std::sync::Arc;
use storage::arrow::{BatchBuilder, Projection};
use storage::{ArrowBatches, ChangeBatches, ScanSpec, Tablet};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Rows of a batch of changes: DataFusion's own batch size.
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
    let mut spec = ScanSpec::rows_of(clip(&tablet, required(request.spec, "spec")?), request.columns);
    if request.batch_rows > 0 {
        spec.batch_rows = request.batch_rows as usize;
    }
    let schema = Projection::new(tablet.table(), &spec.columns)?.schema().clone();
    // The first permit is waited for inside, so a scan begins only when there is a turn to make its batches.
    let batches = tablet.scan(spec, at).map_err(|e| host.refuse(&tablet, e))?;
    Ok(send(host, pool, tablet, schema, batches))
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
    let images = Images {
        source: rows,
        rest: Vec::new().into_iter(),
        builder: BatchBuilder::with_images(projection.clone(), IMAGE_COLUMN),
        projection,
    };
    let schema = images.builder.schema().clone();
    let batches = try_unfold(images, |mut images| async move { Ok(images.next().await?.map(|batch| (batch, images))) });
    Ok(send(host, pool, tablet, schema, batches.boxed()))
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

/// Turns the engine's batches of changes into Arrow batches of their own size.
struct Images {
    source: ChangeBatches,
    /// Read and not yet pushed.
    rest: std::vec::IntoIter<RowChange>,
    projection: Arc<Projection>,
    builder: BatchBuilder,
}

impl Images {
    /// The next batch; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            for change in self.rest.by_ref() {
                push_change(&self.projection, &change, &mut self.builder)?;
                if self.builder.rows() >= BATCH_ROWS || self.builder.bytes() >= BATCH_BYTES {
                    return self.builder.finish().map(Some);
                }
            }
            match self.source.next().await {
                Some(changes) => self.rest = changes?.into_iter(),
                None if self.builder.rows() == 0 => return Ok(None),
                None => return self.builder.finish().map(Some),
            }
            // The engine may have all rows at hand: without a pause here nobody would notice that the reader has gone.
            tokio::task::yield_now().await;
        }
    }
}

/// Makes batches on the pool and hands them out as long as there is a lease and a reader.
fn send(host: &Arc<Host>, pool: &ScanPool, tablet: Tablet, schema: SchemaRef, mut batches: ArrowBatches) -> Chunks {
    let (chunks, out) = mpsc::channel(AHEAD);
    let (host, permits) = (host.clone(), pool.permits());
    pool.spawn(async move {
        let ended = tokio::select! {
            // The reader has gone: stop at once, in the middle of a batch.
            () = chunks.closed() => Ok(()),
            ended = produce(&host, &permits, &schema, &mut batches, &chunks) => ended,
        };
        if let Err(e) = ended {
            // A failed send means that nobody waits for the reason.
            let _ = chunks.send(Err(host.refuse(&tablet, e).into())).await;
        }
    });
    ReceiverStream::new(out).boxed()
}

type Outlet = mpsc::Sender<Result<ArrowChunk, Status>>;

async fn produce(host: &Host, permits: &Permits, schema: &SchemaRef, batches: &mut ArrowBatches, chunks: &Outlet) -> Result<()> {
    let mut encoder = IpcEncoder::new(schema)?;
    loop {
        let (bytes, last) = {
            let _turn = permits.turn().await?;
            match batches.next().await.transpose()? {
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
