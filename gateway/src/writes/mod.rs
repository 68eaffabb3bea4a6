//! What REST and the Bigtable API share of taking rows in: how much at a time, and what becomes of each.

mod admission;

use crate::cluster::Cluster;
pub use admission::Admission;
use common::row::{Committed, RowMutation};
use common::schema::Table;
use common::{Error, Result};

/// Writes those of `rows` that are right, each by itself; one result a row, in order.
///
/// # Errors
/// `NotFound` if the table is gone. Where the cluster has taken none of them for now, why: then all of them may be sent again.
pub async fn write_each(cluster: &Cluster, table: &Table, rows: Vec<Result<RowMutation>>) -> Result<Vec<Result<Committed>>> {
    let (mut right, mut wrong) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        match row {
            Ok(row) => {
                right.push(row);
                wrong.push(None);
            }
            Err(e) => wrong.push(Some(e)),
        }
    }
    let mut written = cluster.write(table, right).await?.into_iter();
    let mut next = || written.next().unwrap_or_else(|| Err(Error::internal("a row without a result")));
    let results: Vec<_> = wrong.into_iter().map(|wrong| wrong.map_or_else(&mut next, Err)).collect();
    match all_refused(&results) {
        Some(refusal) => Err(refusal.clone()),
        None => Ok(results),
    }
}

/// Why nothing at all was done, if the same request may be sent again: of several refusals the one with the longest wait.
fn all_refused(results: &[Result<Committed>]) -> Option<&Error> {
    let refusals: Option<Vec<&Error>> = results.iter().map(|r| r.as_ref().err().filter(|e| e.is_retryable())).collect();
    refusals?.into_iter().max_by_key(|e| e.retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::Seq;
    use common::time::Micros;
    use std::time::Duration;

    #[test]
    fn only_a_refusal_of_all_rows_is_the_requests() {
        let busy = |seconds| Err(Error::exhausted("full", Duration::from_secs(seconds)));
        let done = || Ok(Committed { seq: Seq(1), timestamp: Micros(1) });
        assert_eq!(all_refused(&[busy(1), busy(3), busy(2)]), Some(&Error::exhausted("full", Duration::from_secs(3))));
        assert_eq!(all_refused(&[busy(1), done()]), None);
        assert_eq!(all_refused(&[busy(1), Err(Error::invalid("bad"))]), None, "the row itself is wrong");
        assert_eq!(all_refused(&[Err(Error::unavailable("unknown"))]), None, "it may be written");
        assert_eq!(all_refused(&[]), None);
    }
}
