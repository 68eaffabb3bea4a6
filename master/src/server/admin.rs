//! What operators see: the committed state together with what servers report.

use super::node::Node;
use crate::liveness::Memory;
use crate::state::{ClusterState, Step, TableProcedure, TableStep, Tablet, UnderWay};
use bytes::Bytes;
use common::ids::{ProcedureId, ServerId, TableId, TabletId};
use common::rpc::master::{Load, ProcedureView, Reply, ServerView, TabletState, TabletView};
use std::collections::BTreeMap;

/// See [`Command::ListServers`](common::rpc::master::Command::ListServers).
pub(super) fn servers(node: &Node) -> Reply {
    let (applied, now) = (node.state(), node.now());
    let memory = node.memory();
    let state = &applied.state;
    let mut views: BTreeMap<ServerId, ServerView> = BTreeMap::new();
    for (id, server) in &state.servers {
        let seen = memory.report_of(*id, server.incarnation);
        let silent = seen.map(|seen| now.monotonic.saturating_sub(seen.at.monotonic).as_millis() as u64);
        let view = ServerView {
            id: *id,
            incarnation: server.incarnation,
            live: server.live,
            address: server.address.clone(),
            draining: server.draining || seen.is_some_and(|seen| seen.report.leaving),
            tablets: 0,
            bytes: 0,
            load: Load::default(),
            requests: seen.map_or(0, |seen| seen.report.requests),
            silent_ms: silent,
        };
        views.insert(*id, view);
    }
    for (id, tablet) in &state.tablets {
        let Some(view) = tablet.owner.and_then(|(server, _)| views.get_mut(&server)) else { continue };
        view.tablets += 1;
        if let Some(report) = memory.report_on(*id, tablet) {
            view.bytes += report.bytes;
            view.load.reads += report.load.reads;
            view.load.writes += report.load.writes;
        }
    }
    // What is over and empty is of no interest any more.
    Reply::Servers { servers: views.into_values().filter(|v| v.live || v.tablets > 0).collect() }
}

/// See [`Command::ListTablets`](common::rpc::master::Command::ListTablets).
pub(super) fn tablets(node: &Node, table: Option<TableId>, after: Option<&(String, Bytes)>, limit: usize) -> Reply {
    let applied = node.state();
    let state = &applied.state;
    let mut found: Vec<_> = (state.tablets.iter())
        .filter(|(_, t)| table.is_none_or(|only| only == t.table))
        .map(|(id, t)| (state.tables.get(&t.table).map_or("", |table| table.name.as_str()), &t.range.start, *id, t))
        .filter(|(name, start, ..)| after.is_none_or(|(table, key)| (*name, *start) > (table.as_str(), key)))
        .collect();
    found.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let more = found.len() > limit;
    found.truncate(limit);
    let memory = node.memory();
    Reply::Tablets { tablets: found.into_iter().map(|(_, _, id, tablet)| tablet_view(state, &memory, id, tablet)).collect(), more }
}

fn tablet_view(state: &ClusterState, memory: &Memory, id: TabletId, tablet: &Tablet) -> TabletView {
    let report = memory.report_on(id, tablet);
    let step = tablet.procedure.and_then(|p| state.procedures.get(&p)).map(|p| p.step);
    let standing = match (tablet.owner, report.map(|r| &r.state)) {
        (None, _) => "waiting".to_owned(),
        (Some(_), Some(TabletState::Failed { reason })) => format!("failed: {reason}"),
        (Some(_), _) if step == Some(Step::Closing) => "closing".to_owned(),
        (Some(_), _) if tablet.open => "open".to_owned(),
        (Some(_), _) => "opening".to_owned(),
    };
    TabletView {
        id,
        table: tablet.table,
        name: state.tables.get(&tablet.table).map(|t| t.name.clone()).unwrap_or_default(),
        range: tablet.range.clone(),
        epoch: tablet.epoch,
        server: tablet.owner.map(|(server, _)| server),
        state: standing,
        bytes: report.map_or(0, |r| r.bytes),
        load: report.map(|r| r.load).unwrap_or_default(),
        procedure: tablet.procedure,
    }
}

/// See [`Command::ListProcedures`](common::rpc::master::Command::ListProcedures).
pub(super) fn procedures(node: &Node) -> Reply {
    let applied = node.state();
    let state = &applied.state;
    let past = state.past.iter().map(|p| {
        let step = if p.error.is_some() { "failed" } else { "done" };
        ProcedureView { step: step.into(), error: p.error.clone(), ended_at: Some(p.ended_at), ..view(p.id, &p.was) }
    });
    let copies = state.copies.iter().map(|(id, p)| table_view(node, *id, p));
    let mut all: Vec<_> = past.chain(state.procedures.iter().map(|(id, p)| view(*id, p))).chain(copies).collect();
    all.sort_by_key(|p| p.id);
    Reply::Procedures { procedures: all }
}

fn view(id: ProcedureId, under_way: &UnderWay) -> ProcedureView {
    let step = match under_way.step {
        Step::Choosing => "choosing",
        Step::Closing => "closing",
        Step::Deriving => "deriving",
    };
    ProcedureView {
        id,
        what: under_way.procedure.to_string(),
        why: under_way.why.clone(),
        step: step.into(),
        progress: None,
        error: None,
        begun_at: under_way.begun_at,
        ended_at: None,
        made: under_way.makes.clone(),
    }
}

fn table_view(node: &Node, id: ProcedureId, p: &TableProcedure) -> ProcedureView {
    let step = match (p.ended_at, &p.error, p.step) {
        (Some(_), Some(_), _) => "failed",
        (Some(_), None, _) => "done",
        (None, _, TableStep::Flushing) => "flushing",
        (None, _, TableStep::Copying) => "copying",
    };
    ProcedureView {
        id,
        what: p.describe(),
        why: p.why.clone(),
        step: step.into(),
        progress: node.progress.of(id).filter(|_| p.is_under_way()),
        error: p.error.clone(),
        begun_at: p.begun_at,
        ended_at: p.ended_at,
        made: p.makes().iter().map(|part| part.tablet).collect(),
    }
}

/// See [`Command::ListSnapshots`](common::rpc::master::Command::ListSnapshots).
pub(super) fn snapshots(node: &Node) -> Reply {
    let applied = node.state();
    let state = &applied.state;
    let named = |id| state.tables.get(id).map(|t| t.name.clone());
    let schedules = state.schedules.iter().filter_map(|(id, schedule)| Some((named(id)?, *schedule)));
    Reply::Snapshots { snapshots: state.snapshot_views(), schedules: schedules.collect() }
}
