//! Bringing a difference to the tablets.

use crate::cluster::Cluster;
use common::Result;
use common::ids::RunId;
use common::row::RowMutation;
use common::schema::Table;

/// Rows of one stage call at most.
const MAX_ROWS: usize = 1_000;
/// Bytes of one stage call, unless one row alone is larger.
const MAX_BYTES: usize = 1 << 20;

/// Stages all of a run's rows, chunk by chunk.
///
/// # Errors
/// As [`Cluster::stage`].
pub async fn stage(cluster: &Cluster, table: &Table, run: RunId, rows: Vec<RowMutation>) -> Result<()> {
    for chunk in chunks(rows) {
        cluster.stage(table, run, chunk).await?;
    }
    Ok(())
}

fn chunks(rows: Vec<RowMutation>) -> Vec<Vec<RowMutation>> {
    let mut chunks: Vec<Vec<RowMutation>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let weight = row.weight();
        match chunks.last_mut().filter(|c| c.len() < MAX_ROWS && bytes + weight <= MAX_BYTES) {
            Some(chunk) => {
                bytes += weight;
                chunk.push(row);
            }
            None => {
                bytes = weight;
                chunks.push(vec![row]);
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::ids::FamilyId;
    use common::row::Mutation;
    use common::time::Micros;

    #[test]
    fn chunks_keep_the_order_and_their_bounds() {
        let row = |n: usize, bytes: usize| RowMutation {
            key: Bytes::from(format!("{n:06}")),
            mutations: vec![Mutation::Set {
                family: FamilyId(1),
                qualifier: Bytes::new(),
                timestamp: Some(Micros(0)),
                value: Bytes::from(vec![0; bytes]),
            }],
        };
        let rows: Vec<_> = (0..2500).map(|n| row(n, if n == 10 { 2 * MAX_BYTES } else { 1 })).collect();
        let chunks = chunks(rows.clone());
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [10, 1, 1000, 1000, 489]);
        assert_eq!(chunks.concat(), rows);
    }
}
