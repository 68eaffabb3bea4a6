//! Staging and publishing at the tablets of derived tables.

use super::Cluster;
use super::call::Client;
use super::router::pieces_of;
use super::version::AT_ONCE;
use common::Result;
use common::catalog::Tablet;
use common::ids::{RunId, Seq, TabletId};
use common::row::RowMutation;
use common::rpc::tablet::{ApplyRequest, DropStagedRequest, RunVersion, StageRequest};
use common::schema::Table;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counters above this number belong to runs long gone.
const COUNTED: usize = 4096;

/// Counts each run's stage calls, so that a call that is repeated is known by its number. A plain lock, held for a
/// look-up only.
#[derive(Debug, Default)]
pub(super) struct Parts(Mutex<BTreeMap<(RunId, TabletId), u32>>);

impl Parts {
    fn next(&self, run: RunId, tablet: TabletId) -> u32 {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = parts.entry((run, tablet)).or_insert(0);
        let part = *count;
        *count += 1;
        if parts.len() > COUNTED {
            parts.pop_first();
        }
        part
    }

    fn forget(&self, run: RunId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(r, _), _| *r != run);
    }
}

pub(super) async fn stage(cluster: &Cluster, table: &Table, run: RunId, rows: Vec<RowMutation>) -> Result<()> {
    rows.iter().try_for_each(RowMutation::check)?;
    let view = cluster.view();
    let mut by_tablet: BTreeMap<TabletId, Vec<usize>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        by_tablet.entry(view.tablet_at(table, &row.key)?.id).or_default().push(i);
    }
    let mut calls = Vec::new();
    for (&tablet, all) in &by_tablet {
        for piece in pieces_of(&rows, all) {
            let rows = piece.iter().map(|&i| rows[i].clone().into()).collect();
            let part = cluster.parts.next(run, tablet);
            calls.push((tablet, StageRequest { target: None, run: run.0, part, rows }));
        }
    }
    stream::iter(calls).map(Ok).try_for_each_concurrent(AT_ONCE, |(tablet, request)| stage_at(cluster, table, tablet, request)).await
}

async fn stage_at(cluster: &Cluster, table: &Table, tablet: TabletId, request: StageRequest) -> Result<()> {
    let send = |mut client: Client, target| {
        let request = StageRequest { target: Some(target), ..request.clone() };
        async move { client.stage(request).await }
    };
    cluster.call(table.id, tablet, send).await.map(drop)
}

pub(super) async fn apply(cluster: &Cluster, table: &Table, runs: &[(RunId, Seq)]) -> Result<()> {
    let versions: Vec<_> = runs.iter().map(|&(run, version)| RunVersion::new(run, version)).collect();
    let send = |mut client: Client, target| {
        let request = ApplyRequest { target: Some(target), runs: versions.clone() };
        async move { client.apply(request).await }
    };
    let tablets = tablets(cluster, table)?;
    stream::iter(tablets).map(Ok).try_for_each_concurrent(AT_ONCE, async |t| cluster.call(t.table, t.id, &send).await.map(drop)).await?;
    runs.iter().for_each(|(run, _)| cluster.parts.forget(*run));
    Ok(())
}

pub(super) async fn drop_staged(cluster: &Cluster, table: &Table, run: RunId) -> Result<()> {
    let send = |mut client: Client, target| async move { client.drop_staged(DropStagedRequest { target: Some(target), run: run.0 }).await };
    let tablets = tablets(cluster, table)?;
    stream::iter(tablets).map(Ok).try_for_each_concurrent(AT_ONCE, async |t| cluster.call(t.table, t.id, &send).await.map(drop)).await?;
    cluster.parts.forget(run);
    Ok(())
}

fn tablets(cluster: &Cluster, table: &Table) -> Result<Vec<Tablet>> {
    Ok(cluster.view().tablets(table)?.to_vec())
}
