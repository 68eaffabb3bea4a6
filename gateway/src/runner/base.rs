//! What a derived table holds at the version that a run starts from.

use super::records::{self, WindowRecord};
use crate::cluster::Cluster;
use bytes::Bytes;
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::{Columns, ReadSpec, Row};
use common::schema::{Column, Table};
use common::time::TimeRange;
use common::version::{RangeSet, VersionMap};
use derived::document::OutputWindow;
use futures::TryStreamExt;
use futures::stream::{self, BoxStream, StreamExt};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A derived table at one version.
pub struct Base<'a> {
    /// The cluster.
    pub cluster: &'a Arc<Cluster>,
    /// The table.
    pub table: &'a Arc<Table>,
    /// Its version; 0: it holds nothing.
    pub version: Seq,
}

impl Base<'_> {
    /// Its visible rows in key order; of a table with windows, at least those that lie in `windows`.
    #[must_use]
    pub fn rows(&self, windows: Option<(&OutputWindow, &RangeSet)>) -> BoxStream<'static, Result<Vec<Row>>> {
        let event_time = windows.and_then(|(window, windows)| self.event_times(window, windows));
        self.read(ReadSpec { event_time, ..ReadSpec::range(self.table.key_schema().data_range()) })
    }

    /// This column alone of its visible rows, in key order; a row without it may be left out.
    #[must_use]
    pub fn column(&self, column: &Column) -> BoxStream<'static, Result<Vec<Row>>> {
        let columns = Columns::Some(vec![(column.family, Some(column.stored()))]);
        self.read(ReadSpec { columns, ..ReadSpec::range(self.table.key_schema().data_range()) })
    }

    /// Its visible rows of these keys, in key order.
    #[must_use]
    pub fn rows_of(&self, keys: &BTreeSet<Bytes>) -> BoxStream<'static, Result<Vec<Row>>> {
        if keys.is_empty() {
            return stream::empty().boxed();
        }
        self.read(ReadSpec { ranges: keys.iter().map(|key| KeyRange::single(key)).collect(), ..ReadSpec::default() })
    }

    /// Its window records.
    ///
    /// # Errors
    /// `Unavailable` and the like; `Corrupt` for a record that does not decode.
    pub async fn records(&self) -> Result<Vec<WindowRecord>> {
        let rows: Vec<Vec<Row>> = self.read(ReadSpec::range(records::range())).try_collect().await?;
        rows.iter().flatten().map(records::decode).collect()
    }

    fn read(&self, spec: ReadSpec) -> BoxStream<'static, Result<Vec<Row>>> {
        if self.version == Seq::ZERO {
            return stream::empty().boxed();
        }
        self.cluster.read(self.table, spec, Some(VersionMap::whole(self.version)))
    }

    /// Only a time in the key is the same in every version of a row, and unknown for none.
    fn event_times(&self, window: &OutputWindow, windows: &RangeSet) -> Option<TimeRange> {
        let name = self.table.time_column.as_ref().filter(|name| **name == window.time_column)?;
        self.table.key_part(name)?;
        let (first, last) = (windows.ranges().first()?, windows.ranges().last()?);
        Some(TimeRange { start: window.time_value(first.0), end: window.time_value(last.1) })
    }
}
