//! Reading ahead of a scan, on other threads: pages are decoded and made into arrays there.

use super::block::Shape;
use super::needs::{Binding, Needs, Output};
use super::page::Column;
use crate::sstable::{Prefetch, Reader};
use std::ops::Deref;
use std::sync::Arc;

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
            let look = |i: usize, page: &_| drop(Column::shared(page, types[i]));
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
