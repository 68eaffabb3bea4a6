//! Moves: away from servers that are to be empty, and from those that bear much to those that bear little.

use super::assignment::{Candidate, candidates};
use super::{Memory, Now, Wanted};
use crate::state::{ClusterState, Server, Tablet};
use common::config::{LogKind, MasterConfig};
use common::ids::{ServerId, TabletId};
use common::rpc::master::Procedure;
use std::collections::BTreeMap;
use std::time::Duration;

/// Tablets of servers that an operator drains or that are about to end.
pub(super) fn emptied(state: &ClusterState, memory: &Memory) -> Vec<Wanted> {
    let leaving = |id: &ServerId, s: &Server| s.draining || memory.report_of(*id, s.incarnation).is_some_and(|seen| seen.report.leaving);
    if !state.servers.iter().any(|(id, s)| s.live && leaving(id, s)) {
        return Vec::new();
    }
    let mut candidates = candidates(state, memory);
    let mut moves = Vec::new();
    for (id, tablet) in state.tablets.iter().filter(|(_, t)| may_move(t)) {
        let Some((server, life)) = tablet.owner else { continue };
        let leaves = memory.report_of(server, life).is_some_and(|seen| seen.report.leaving);
        let drained = state.servers.get(&server).is_some_and(|s| s.draining || leaves) && movable(state, server);
        if let Some((to, candidate)) = candidates.iter_mut().min_by_key(|(id, c)| (c.burden(), **id)).filter(|_| drained) {
            candidate.take(bytes(memory, *id, tablet));
            moves.push((Procedure::Move { tablet: *id, to: Some(*to) }, "drain"));
        }
    }
    moves
}

fn may_move(tablet: &Tablet) -> bool {
    tablet.open && tablet.procedure.is_none()
}

/// A server that logs to its own disk keeps its tablets.
fn movable(state: &ClusterState, server: ServerId) -> bool {
    state.servers.get(&server).is_some_and(|s| s.log == LogKind::Object)
}

/// One tablet from the server that bears most to the one that bears least, if that evens them out.
///
/// What a server bears is the mean of its shares of all bytes, all rows read and written, and all tablets. A tablet is
/// moved only if it weighs less than the difference, the one that is nearest to half of it first, and not again within
/// [`REST`]: so nothing moves to and fro, and what an operator has moved stays for a while. The rate is bounded by
/// [`MasterConfig::moves_per_minute`].
pub(super) fn evened(state: &ClusterState, memory: &Memory, policy: &MasterConfig, now: Now) -> Option<Wanted> {
    if recent_moves(state, now) >= policy.moves_per_minute {
        return None;
    }
    let candidates = candidates(state, memory);
    let total = Total::of(&candidates);
    let weigh = |c: &Candidate| total.weigh(c.bytes, c.rows, c.tablets);
    let by_weight = |a: &(&ServerId, f64), b: &(&ServerId, f64)| a.1.total_cmp(&b.1);
    let weighed = || candidates.iter().map(|(id, c)| (id, weigh(c)));
    let (from, most) = weighed().max_by(by_weight)?;
    let (to, least) = weighed().min_by(by_weight)?;
    let gap = most - least;
    if from == to || gap * candidates.len() as f64 <= MIN_GAP || !movable(state, *from) {
        return None;
    }
    let rested = |t: &Tablet| now.wall > t.assigned_at.after(REST);
    let of_from = state.tablets.iter().filter(|(_, t)| may_move(t) && rested(t) && t.owner.is_some_and(|(server, _)| server == *from));
    let weights = of_from.map(|(id, t)| (*id, total.weigh(bytes(memory, *id, t), rows(memory, *id, t), 1)));
    // The best move leaves both as even as can be.
    let fits = weights.filter(|(_, weight)| *weight < gap);
    let (tablet, _) = fits.min_by(|a, b| (a.1 - gap / 2.0).abs().total_cmp(&(b.1 - gap / 2.0).abs()))?;
    Some((Procedure::Move { tablet, to: Some(*to) }, "balance"))
}

/// What was given to a server lately is not taken from it to even servers out.
const REST: Duration = Duration::from_secs(60);
/// Servers are left alone whose shares differ by less than this part of the mean share.
const MIN_GAP: f64 = 0.2;

/// All that the candidates have.
#[derive(Clone, Copy, Debug)]
struct Total {
    bytes: u64,
    rows: u64,
    tablets: usize,
}

impl Total {
    fn of(candidates: &BTreeMap<ServerId, Candidate>) -> Self {
        let all = candidates.values();
        all.fold(Self { bytes: 0, rows: 0, tablets: 0 }, |t, c| Self {
            bytes: t.bytes + c.bytes,
            rows: t.rows + c.rows,
            tablets: t.tablets + c.tablets,
        })
    }

    /// A share of everything, from 0 to 1. Little data and little load count little: then tablets alone are evened out.
    fn weigh(&self, bytes: u64, rows: u64, tablets: usize) -> f64 {
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let (bytes_count, rows_count) = (f64::from(u8::from(self.bytes > SOME_BYTES)), f64::from(u8::from(self.rows > SOME_ROWS)));
        let sum = share(tablets as u64, self.tablets as u64) + bytes_count * share(bytes, self.bytes) + rows_count * share(rows, self.rows);
        sum / (1.0 + bytes_count + rows_count)
    }
}

/// Below this many bytes in all, bytes say nothing of who bears what.
const SOME_BYTES: u64 = 64 << 20;
/// Below this many rows a second in all, load says nothing of who bears what.
const SOME_ROWS: u64 = 500;

fn bytes(memory: &Memory, id: TabletId, tablet: &Tablet) -> u64 {
    memory.report_on(id, tablet).map_or(0, |t| t.bytes)
}

fn rows(memory: &Memory, id: TabletId, tablet: &Tablet) -> u64 {
    memory.report_on(id, tablet).map_or(0, |t| t.load.rows())
}

/// Moves for balance that began within the last minute.
fn recent_moves(state: &ClusterState, now: Now) -> usize {
    let minute_ago = now.wall.before(Duration::from_secs(60));
    let all = state.procedures.values().chain(state.past.iter().map(|p| &p.was));
    all.filter(|p| p.why == "balance" && p.begun_at > minute_ago).count()
}
