use super::Cluster;
use super::call::TRY_FOR;
use super::patience::Patience;
use common::catalog::Tablet;
use common::ids::Seq;
use common::key::KeyRange;
use common::rpc::tablet::{ReadAt, RunVersion, StatusRequest, StatusResponse};
use common::schema::{Table, TableKind};
use common::version::VersionMap;
use common::{Error, ErrorKind, Result};
use futures::future::try_join_all;

/// How many tablets are asked at once.
pub(super) const AT_ONCE: usize = 16;

pub(super) async fn status(cluster: &Cluster, table: &Table) -> Result<Vec<(Tablet, StatusResponse)>> {
    status_of(cluster, table, &[KeyRange::ALL]).await
}

/// The state of those tablets that meet any of `ranges`.
async fn status_of(cluster: &Cluster, table: &Table, ranges: &[KeyRange]) -> Result<Vec<(Tablet, StatusResponse)>> {
    let mut patience = Patience::of(TRY_FOR);
    loop {
        let meets = |t: &&Tablet| ranges.iter().any(|r| r.intersect(&t.range).is_some());
        let tablets: Vec<_> = cluster.view().tablets(table)?.iter().filter(meets).cloned().collect();
        let mut found = Vec::with_capacity(tablets.len());
        let mut failed = None;
        for some in tablets.chunks(AT_ONCE) {
            match try_join_all(some.iter().map(|t| ask(cluster, t))).await {
                Ok(answers) => found.extend(answers),
                Err(e) => failed = Some(e),
            }
        }
        match failed {
            None => return Ok(found),
            // The tablets have been cut anew meanwhile.
            Some(e) if e.kind == ErrorKind::NotMine && cluster.wait(&mut patience, &e).await => {}
            Some(e) => return Err(e),
        }
    }
}

async fn ask(cluster: &Cluster, tablet: &Tablet) -> Result<(Tablet, StatusResponse)> {
    let send = |mut client: super::call::Client, target| async move { client.status(StatusRequest { target: Some(target) }).await };
    let response = cluster.call(tablet.table, tablet.id, send).await?;
    Ok((tablet.clone(), response))
}

pub(super) async fn snapshot(cluster: &Cluster, table: &Table) -> Result<VersionMap> {
    snapshot_of(cluster, table, &[KeyRange::ALL]).await
}

/// A version of the parts of the table that meet `ranges`; elsewhere it may say nothing.
pub(super) async fn snapshot_of(cluster: &Cluster, table: &Table, ranges: &[KeyRange]) -> Result<VersionMap> {
    if table.kind == TableKind::Derived {
        return Ok(VersionMap::whole(published(cluster, table)?));
    }
    let tablets = status_of(cluster, table, ranges).await?;
    let range = |t: &Tablet, s: StatusResponse| (s.range.map_or_else(|| t.range.clone(), Into::into), Seq(s.visible_seq));
    Ok(VersionMap::from_ranges(tablets.into_iter().map(|(t, s)| range(&t, s)).collect()))
}

/// The newest version of a derived table.
pub(super) fn published(cluster: &Cluster, table: &Table) -> Result<Seq> {
    cluster.view().tablets(table)?;
    Ok(cluster.catalog().published(table.id).map_or(Seq::ZERO, |p| p.version))
}

/// A version for a request to one tablet. `at` = `None`: the newest of a raw table.
pub(super) async fn read_at(cluster: &Cluster, table: &Table, at: Option<&VersionMap>, range: &KeyRange) -> Result<ReadAt> {
    match at {
        None => Ok(ReadAt::newest()),
        Some(at) if table.kind == TableKind::Derived => derived_at(cluster, table, at.lowest(range)).await,
        Some(at) => Ok(ReadAt::seq(at.lowest(range))),
    }
}

/// A version of a derived table, with the runs that lead to it for tablets that have not applied them.
async fn derived_at(cluster: &Cluster, table: &Table, version: Seq) -> Result<ReadAt> {
    let mut view = cluster.view.clone();
    // Another gateway may have seen a version that this one has yet to hear of.
    let known = view.wait_for(|v| v.catalog().published(table.id).map_or(Seq::ZERO, |p| p.version) >= version);
    match tokio::time::timeout(TRY_FOR, known).await {
        Ok(Ok(view)) => {
            let runs = view.catalog().published(table.id).map(|p| p.runs.as_slice()).unwrap_or_default();
            let runs = runs.iter().filter(|(_, v)| *v <= version).map(|&(run, v)| RunVersion::new(run, v)).collect();
            Ok(ReadAt { seq: version.0, runs })
        }
        _ => Err(Error::unavailable(format!("version {version} of '{}' is not known here", table.name))),
    }
}
