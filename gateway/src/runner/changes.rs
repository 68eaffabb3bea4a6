//! Which event times of an input changed between two of its versions.

use super::query::columns_read;
use crate::cluster::Cluster;
use crate::rows::arrow::TypedColumn;
use common::ids::TableId;
use common::schema::Table;
use common::time::Micros;
use common::value::{Value, ValueType};
use common::version::{RangeSet, VersionMap};
use common::{ErrorKind, Result};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use derived::document::Input;
use futures::TryStreamExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// µs: changes of one minute count as one range, from its first to its last. Keeps sets small, and crosses no window of
/// whole minutes.
const GRAIN: i64 = 60_000_000;
/// µs of a day.
const DAY: i64 = 86_400_000_000;

/// The columns of each input whose changes count, by input name: those that the query reads, and the event time.
///
/// # Errors
/// `InvalidArgument` if the query cannot be planned.
pub fn columns_of(context: &SessionContext, plan: &LogicalPlan, inputs: &[Input]) -> Result<HashMap<String, Vec<String>>> {
    let mut read = columns_read(context, plan)?;
    let one = |input: &Input| {
        let mut columns = read.remove(&input.name).unwrap_or_default();
        columns.extend(input.time.as_ref().map(|t| t.column.clone()));
        (input.name.clone(), columns.into_iter().collect())
    };
    Ok(inputs.iter().map(one).collect())
}

/// What to follow of an input.
pub struct Followed<'a> {
    /// The input's table.
    pub table: &'a Arc<Table>,
    /// What its reader needs of it.
    pub input: &'a Input,
    /// The columns whose changes count.
    pub columns: &'a [String],
}

/// What changed of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The event times, old and new, that a reader must take for changed: everything, if it reads the input without time
    /// bound, a changed row is without a time, or the changes are lost.
    pub times: RangeSet,
    /// The earliest event time among the changed rows, [`Micros::MIN`] if that is not known; `None`: nothing changed.
    pub earliest: Option<Micros>,
}

impl Changed {
    /// Anything may have changed.
    #[must_use]
    pub fn unknown() -> Self {
        Self { times: RangeSet::all(), earliest: Some(Micros::MIN) }
    }
}

/// What changed of an input in `(from, to]`.
///
/// # Errors
/// `Unavailable` and the like.
pub async fn changed(cluster: &Arc<Cluster>, followed: &Followed<'_>, from: &VersionMap, to: &VersionMap) -> Result<Changed> {
    let mut batches = cluster.changes(followed.table, followed.columns.to_vec(), from, to);
    let mut times = Times::default();
    // Once nothing is known of some rows, nothing more can be learnt.
    while !times.unknown {
        match batches.try_next().await {
            Ok(Some(batch)) => times.add(followed.input, &batch)?,
            Ok(None) => break,
            Err(e) if e.kind == ErrorKind::ChangesLost => {
                tracing::warn!(input = %followed.table.name, error = %e, "changes are lost: all that they can reach is due");
                times.unknown = true;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(times.changed(followed.input))
}

/// What changed, asked once for all readers that ask the same.
#[derive(Default)]
pub struct SharedScans(Vec<(Asked, Changed)>);

#[derive(PartialEq)]
struct Asked {
    table: TableId,
    from: VersionMap,
    to: VersionMap,
    columns: Vec<String>,
    time: Option<(String, bool)>,
    is_bounded: bool,
}

impl SharedScans {
    /// As [`changed`].
    ///
    /// # Errors
    /// `Unavailable` and the like.
    pub async fn changed(
        &mut self,
        cluster: &Arc<Cluster>,
        followed: &Followed<'_>,
        from: &VersionMap,
        to: &VersionMap,
    ) -> Result<Changed> {
        let asked = Asked {
            table: followed.table.id,
            from: from.clone(),
            to: to.clone(),
            columns: followed.columns.to_vec(),
            time: followed.input.time.as_ref().map(|t| (t.column.clone(), t.date)),
            is_bounded: followed.input.reach.is_bounded(),
        };
        if let Some((_, found)) = self.0.iter().find(|(known, _)| *known == asked) {
            return Ok(found.clone());
        }
        let found = changed(cluster, followed, from, to).await?;
        self.0.push((asked, found.clone()));
        Ok(found)
    }
}

/// What changed rows of an input say of event times; see [`changed`].
///
/// # Errors
/// `InvalidArgument` if they are without the input's time.
pub fn times_of(input: &Input, batches: &[RecordBatch]) -> Result<Changed> {
    let mut times = Times::default();
    batches.iter().try_for_each(|batch| times.add(input, batch))?;
    Ok(times.changed(input))
}

/// Event times as they come in.
#[derive(Default)]
struct Times {
    /// Some changed row may lie anywhere.
    unknown: bool,
    /// By [`GRAIN`]: the first and the last.
    grains: BTreeMap<i64, (i64, i64)>,
}

impl Times {
    fn add(&mut self, input: &Input, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let Some(time) = &input.time else {
            self.unknown = true;
            return Ok(());
        };
        let ty = if time.date { ValueType::Date } else { ValueType::Timestamp };
        let column = TypedColumn::of(batch, &time.column, ty, 1)?;
        for row in 0..batch.num_rows() {
            match column.value(row) {
                Some(Value::Timestamp(t)) => self.add_one(t.0),
                Some(Value::Date(d)) => self.add_one(i64::from(d).saturating_mul(DAY)),
                _ => self.unknown = true,
            }
        }
        Ok(())
    }

    fn add_one(&mut self, at: i64) {
        let grain = self.grains.entry(at.div_euclid(GRAIN)).or_insert((at, at));
        *grain = (grain.0.min(at), grain.1.max(at));
    }

    fn changed(self, input: &Input) -> Changed {
        let earliest = self.grains.values().next().map(|(first, _)| Micros(*first));
        let earliest = if self.unknown { Some(Micros::MIN) } else { earliest };
        let times = match self.unknown || (earliest.is_some() && !input.reach.is_bounded()) {
            true => RangeSet::all(),
            false => self.grains.into_values().map(|(first, last)| (Micros(first), Micros(last.saturating_add(1)))).collect(),
        };
        Changed { times, earliest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int64Array, TimestampMicrosecondArray};
    use derived::bounds::{Reach, Span, TimeMap};
    use derived::definition::{Need, OnChange};
    use derived::document::InputTime;

    fn input(timed: bool, bounded: bool) -> Input {
        Input {
            name: "raw.events".into(),
            derived: false,
            time: timed.then(|| InputTime { column: "at".into(), date: false, windows: None }),
            reach: if bounded { Reach::Window(vec![Span::window(TimeMap::identity(), false)]) } else { Reach::All },
            why: String::new(),
            need: Need::Complete,
            on_change: OnChange::Exact,
        }
    }

    fn changed(input: &Input, at: Vec<Option<i64>>) -> (RangeSet, Option<Micros>) {
        let rows = at.len();
        let at = Arc::new(TimestampMicrosecondArray::from(at)) as _;
        let image = Arc::new(Int64Array::from(vec![0; rows])) as _;
        let batch = RecordBatch::try_from_iter_with_nullable([("at", at, true), ("_image", image, false)]).unwrap();
        let mut times = Times::default();
        times.add(input, &batch).unwrap();
        let changed = times.changed(input);
        (changed.times, changed.earliest)
    }

    #[test]
    fn both_images_count_and_no_range_crosses_a_minute() {
        let (set, earliest) = changed(&input(true, true), vec![Some(5), Some(GRAIN - 1), Some(GRAIN), Some(7 * GRAIN + 3), Some(-1)]);
        let want = [(-1, 0), (5, GRAIN + 1), (7 * GRAIN + 3, 7 * GRAIN + 4)];
        assert_eq!(set, want.into_iter().map(|(s, e)| (Micros(s), Micros(e))).collect());
        assert_eq!(earliest, Some(Micros(-1)));
    }

    #[test]
    fn a_change_without_a_time_or_to_an_unbounded_reader_reaches_everything() {
        assert_eq!(changed(&input(true, true), vec![Some(5), None]), (RangeSet::all(), Some(Micros::MIN)));
        assert_eq!(changed(&input(false, false), vec![Some(5)]), (RangeSet::all(), Some(Micros::MIN)));
        assert_eq!(changed(&input(true, false), vec![Some(5)]), (RangeSet::all(), Some(Micros(5))));
        assert_eq!(changed(&input(true, false), vec![]), (RangeSet::empty(), None));
    }
}
