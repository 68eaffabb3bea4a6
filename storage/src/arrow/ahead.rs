//! Reading ahead of a scan, on other threads: pages are decoded and made into arrays there.

use super::block::Shape;
use super::needs::{Binding, Needs, Output};
use super::page::Column;
use crate::sstable::{Beginning, Partitions, Prefetch, Reader};
use common::{Error, Result};
use std::ops::Deref;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Reads the beginning of an SSTable's index on another thread: what lies there is read and decoded beside what others begin with.
///
/// # Errors
/// Those of [`Beginning::read`].
pub(super) async fn begin<R>(reader: R, begins: Beginning) -> Result<Partitions>
where
    R: Deref<Target = Reader> + Send + Sync + 'static,
{
    // A set of one: nobody goes on with it once the scan is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { begins.read(&reader).await });
    match tasks.join_next().await {
        Some(read) => read.map_err(|e| Error::internal(format!("opening an SSTable: {e}")))?,
        None => Ok(Partitions::new()),
    }
}

/// What reads blocks ahead of a scan: with the columns that its conditions need or, if it has none, those that it shows.
pub(super) fn read_ahead<R>(reader: R, shape: &Arc<Shape>, binding: &Arc<Binding>, fill: bool) -> Prefetch
where
    R: Deref<Target = Reader> + Clone + Send + Sync + 'static,
{
    let (shape, binding) = (shape.clone(), binding.clone());
    Arc::new(move |entries| {
        let (reader, wanted) = (reader.clone(), wanted(&shape.needs));
        let places: Vec<_> = wanted.iter().map(|at| binding.columns[*at]).collect();
        let types: Vec<_> = wanted.iter().map(|at| shape.needs.columns[*at].ty).collect();
        tokio::spawn(async move {
            let look = |i: usize, page: &_| drop(Column::keep(page, types[i]));
            reader.read_ahead(&entries, &places, fill, look).await
        })
    })
}

fn wanted(needs: &Needs) -> Vec<usize> {
    if !needs.conditions.is_empty() {
        return needs.conditions.clone();
    }
    let shown = needs.outputs.iter().filter_map(|output| match output {
        Output::Column(at) => Some(*at),
        _ => None,
    });
    shown.collect()
}
