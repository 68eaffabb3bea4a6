//! Pages of wide columns.

use super::Reader;
use crate::sstable::block::columnar::{ColumnPage, WidePage};
use common::{Error, Result};
use std::sync::Arc;

impl Reader {
    /// These pages of wide columns, in this order. `fill`: they stay in the cache.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn wide_pages(&self, places: &[&WidePage], fill: bool) -> Result<Vec<Arc<ColumnPage>>> {
        let mut found: Vec<_> = places.iter().map(|p| self.page_now(p.offset)).collect();
        let missing: Vec<_> = places.iter().zip(&found).filter(|(_, page)| page.is_none()).map(|(p, _)| *p).collect();
        if !missing.is_empty() {
            let mut read: std::collections::HashMap<_, _> = self.load_pages(&missing, fill).await?.into_iter().collect();
            for (place, page) in places.iter().zip(&mut found).filter(|(_, page)| page.is_none()) {
                *page = read.remove(&place.offset);
            }
        }
        found.into_iter().collect::<Option<_>>().ok_or_else(|| Error::internal("a wide page was not read"))
    }
}
