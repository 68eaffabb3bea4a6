//! Increments of one counter by many clients at once, each answered before it sends its next; the log is in the object store.

use super::solo::{Place, Solo};
use crate::codec;
use crate::engines::stele;
use crate::report::figure;
use anyhow::{Context, Result, ensure};
use common::conditional::ReadModifyWrite;
use common::ids::{ColumnId, Seq};
use common::row::ReadSpec;
use common::schema::StoredQualifier;
use futures::TryStreamExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use storage::{LogConfig, ObjectLogSettings};

/// The column `quantity`.
const COUNTER: ColumnId = ColumnId(6);
/// At least so many a second.
const BAR: f64 = 1_000.0;

/// Sizes of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Clients at once.
    pub clients: usize,
    /// Increments of each.
    pub each: usize,
    /// How much longer each put to the store takes.
    pub put_delay: Duration,
}

/// Measures and reports.
///
/// # Errors
/// Those of the engine, a lost increment, and a missed bar.
pub async fn run(dir: PathBuf, sizes: Sizes) -> Result<()> {
    let place = Place {
        put_delay: sizes.put_delay,
        ..Place::new(dir, stele::table(false)?, |config| config.log = LogConfig::Object(ObjectLogSettings::default()))
    };
    let solo = Solo::open(place).await?;
    let family = solo.tablet.table().marker_family();
    let key = codec::key("counter", 0, 0);
    let started = Instant::now();
    let clients: Vec<_> = (0..sizes.clients)
        .map(|_| {
            let (tablet, key) = (solo.tablet.clone(), key.clone());
            tokio::spawn(async move {
                for _ in 0..sizes.each {
                    let qualifier = StoredQualifier::Declared(COUNTER).encode();
                    tablet.read_modify_write(ReadModifyWrite::increment(key.clone(), family, qualifier, 1), None).await?;
                }
                Ok::<(), common::Error>(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let wanted = (sizes.clients * sizes.each) as i64;
    let rows: Vec<_> = solo.tablet.read(ReadSpec::row(&key), Seq::MAX)?.try_concat().await?;
    let cell = rows.first().and_then(|r| r.cells.first()).context("the counter is gone")?;
    let counted = i64::from_be_bytes(cell.value.as_ref().try_into().context("the counter is no number")?);
    ensure!(counted == wanted, "the counter says {counted} after {wanted} increments");
    let rate = wanted as f64 / seconds;
    println!("{} clients, {} ms a put: {} increments/s on one row (bar ≥ {BAR})", sizes.clients, sizes.put_delay.as_millis(), figure(rate));
    ensure!(rate >= BAR * 0.9, "the bar is missed");
    solo.close().await
}
