//! Changes of tablets that take several steps. What a step waits for, and what it says to the death of a server:
//!
//! | step | waits for | if the owner's life ends |
//! |---|---|---|
//! | choosing (split without a key) | the owner to name a key | fails: the tablet goes on elsewhere |
//! | closing | the owner to report the tablet closed, with everything flushed, at its epoch | fails, as above |
//! | deriving (split, merge) | the leader to put the new tablets' manifests | nothing: nobody owns the tablets |
//!
//! A tablet that a procedure is closing is missing from its owner's orders, so that it is closed; one that was closed is
//! given to nobody until the procedure has ended. An ended procedure stays in a short history.

use super::{ClusterState, Tablet, endings, tablets};
use bytes::Bytes;
use common::config::LogKind;
use common::ids::{Epoch, Incarnation, ProcedureId, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::rpc::master::Procedure;
use common::time::Micros;
use common::{Error, Result};
use serde::{Deserialize, Serialize};

/// Ended procedures that are remembered.
const HISTORY: usize = 100;

/// A procedure under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// What it does.
    pub procedure: Procedure,
    /// Who or what began it.
    pub why: String,
    /// Where it is.
    pub step: Step,
    /// When it began.
    pub begun_at: Micros,
    /// Who had its (lower) tablet: whose cache is warm.
    pub home: Option<(ServerId, Incarnation)>,
    /// Tablets that it makes.
    pub makes: Vec<TabletId>,
}

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The owner is asked for a key.
    Choosing,
    /// The owners are to close the tablets.
    Closing,
    /// The leader puts the manifests of the new tablets.
    Deriving,
}

/// A procedure that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Its number.
    pub id: ProcedureId,
    /// As it was.
    pub was: UnderWay,
    /// When it ended.
    pub ended_at: Micros,
    /// Why it failed.
    pub error: Option<String>,
}

impl UnderWay {
    /// The tablets that it has, in key order.
    #[must_use]
    pub fn tablets(&self) -> Vec<TabletId> {
        match self.procedure {
            Procedure::Move { tablet, .. } | Procedure::Split { tablet, .. } => vec![tablet],
            Procedure::Merge { tablets } => tablets.to_vec(),
        }
    }
}

/// Begins a procedure on tablets that are open and that no other one has.
///
/// # Errors
/// `NotFound` for a tablet or server that does not exist, `FailedPrecondition` if they cannot take part now,
/// `InvalidArgument` if the procedure makes no sense.
pub(super) fn begin(state: &mut ClusterState, procedure: &Procedure, why: &str, at: Micros) -> Result<ProcedureId> {
    let mut under_way =
        UnderWay { procedure: procedure.clone(), why: why.to_owned(), step: Step::Closing, begun_at: at, home: None, makes: Vec::new() };
    for id in under_way.tablets() {
        free(state, id)?;
    }
    under_way.home = state.tablets.get(&under_way.tablets()[0]).and_then(|t| t.owner);
    match procedure {
        Procedure::Move { tablet, to } => check_target(state, *tablet, *to)?,
        Procedure::Split { at: None, .. } => under_way.step = Step::Choosing,
        Procedure::Split { tablet, at: Some(key) } => check_cut(state, *tablet, key)?,
        Procedure::Merge { tablets } => check_neighbours(state, *tablets)?,
    }
    let made = match procedure {
        Procedure::Move { .. } => 0,
        Procedure::Split { .. } => 2,
        Procedure::Merge { .. } => 1,
    };
    under_way.makes = (0..made).map(|_| state.ids.tablet()).collect();
    let id = state.ids.procedure();
    for tablet in under_way.tablets() {
        state.change_tablet(tablet, |t| t.procedure = Some(id));
    }
    state.procedures.insert(id, under_way);
    Ok(id)
}

fn gone(tablet: TabletId) -> Error {
    Error::not_found(format!("tablet {tablet} does not exist"))
}

/// An open tablet that no procedure has.
fn free(state: &ClusterState, id: TabletId) -> Result<&Tablet> {
    let tablet = state.tablets.get(&id).ok_or_else(|| gone(id))?;
    if let Some(other) = tablet.procedure {
        return Err(Error::refused(format!("procedure {other} has tablet {id}: wait for its end")));
    }
    if !tablet.open {
        return Err(Error::refused(format!("tablet {id} is not open: wait until it is served")));
    }
    Ok(tablet)
}

fn check_target(state: &ClusterState, tablet: TabletId, to: Option<ServerId>) -> Result<()> {
    let owner = state.tablets.get(&tablet).and_then(|t| t.owner).map(|(server, _)| server);
    if owner.and_then(|owner| state.servers.get(&owner)).is_some_and(|s| s.log == LogKind::Disk) {
        return Err(Error::refused(format!("tablet {tablet} logs to its server's own disk, so it stays there; use --log object to move")));
    }
    let Some(to) = to else {
        let other = state.servers.iter().any(|(id, s)| s.live && !s.draining && Some(*id) != owner);
        return if other { Ok(()) } else { Err(Error::refused("there is no other server that takes tablets")) };
    };
    let server = state.servers.get(&to).ok_or_else(|| Error::not_found(format!("server {to} does not exist")))?;
    if owner == Some(to) {
        return Err(Error::invalid(format!("tablet {tablet} is at server {to} already")));
    }
    if !server.live || server.draining {
        let is = if server.live { "being drained" } else { "not live" };
        return Err(Error::refused(format!("server {to} is {is}")));
    }
    Ok(())
}

fn check_cut(state: &ClusterState, tablet: TabletId, key: &[u8]) -> Result<()> {
    let range = &state.tablets.get(&tablet).ok_or_else(|| gone(tablet))?.range;
    if range.contains(key) && key > range.start.as_ref() {
        return Ok(());
    }
    let end = range.end.as_ref().map_or_else(|| "the end".to_owned(), |end| format!("'{}'", end.escape_ascii()));
    let (key, start) = (key.escape_ascii(), range.start.escape_ascii());
    Err(Error::invalid(format!("key '{key}' does not lie inside tablet {tablet}, which goes from '{start}' to {end}")))
}

fn check_neighbours(state: &ClusterState, [lower, upper]: [TabletId; 2]) -> Result<()> {
    let (Some(a), Some(b)) = (state.tablets.get(&lower), state.tablets.get(&upper)) else { return Err(gone(lower)) };
    if a.table != b.table || a.range.end.as_ref() != Some(&b.range.start) {
        return Err(Error::invalid(format!("tablet {upper} does not begin where tablet {lower} ends: name neighbours, the lower first")));
    }
    Ok(())
}

/// The owner has named a key to split at, or says that there is none.
pub(super) fn chosen(state: &mut ClusterState, id: ProcedureId, key: Option<&Bytes>, at: Micros) {
    let Some(under_way) = state.procedures.get(&id).filter(|p| p.step == Step::Choosing) else { return };
    let tablet = under_way.tablets()[0];
    let checked = match key {
        Some(key) => check_cut(state, tablet, key),
        None => Err(Error::refused("no key cuts the tablet in two: it has less than two rows")),
    };
    match (checked, state.procedures.get_mut(&id)) {
        (Ok(()), Some(under_way)) => {
            under_way.procedure = Procedure::Split { tablet, at: key.cloned() };
            under_way.step = Step::Closing;
        }
        (Err(e), _) => end(state, id, Some(e.message), at),
        (Ok(()), None) => {}
    }
}

/// The owner has closed a tablet at this epoch, with everything flushed: nobody's log is needed for it any more.
pub(super) fn closed(state: &mut ClusterState, tablet: TabletId, epoch: Epoch, at: Micros) {
    let Some(found) = state.tablets.get_mut(&tablet).filter(|t| t.epoch == epoch && t.owner.is_some()) else { return };
    let Some(id) = found.procedure else { return };
    (found.owner, found.open) = (None, false);
    found.logs.clear();
    let Some(under_way) = state.procedures.get(&id) else { return };
    match under_way.procedure {
        Procedure::Move { tablet, to } => {
            end(state, id, None, at);
            if let Some(to) = to {
                tablets::give(state, tablet, to, at);
            }
        }
        Procedure::Split { .. } | Procedure::Merge { .. } => derive_once_all_are_closed(state, id),
    }
}

/// The next epoch of each tablet is the procedure's: with it the leader ends their last owners.
fn derive_once_all_are_closed(state: &mut ClusterState, id: ProcedureId) {
    let Some(under_way) = state.procedures.get_mut(&id) else { return };
    let all = under_way.tablets();
    if all.iter().any(|t| state.tablets.get(t).is_some_and(|t| t.owner.is_some())) {
        return;
    }
    under_way.step = Step::Deriving;
    for tablet in all {
        state.change_tablet(tablet, |t| t.epoch = t.epoch.next());
    }
}

/// The manifests of the new tablets are there: they take the place of the old ones.
pub(super) fn derived(state: &mut ClusterState, id: ProcedureId, at: Micros) {
    let Some(under_way) = state.procedures.get(&id).filter(|p| p.step == Step::Deriving).cloned() else { return };
    let old: Vec<_> = under_way.tablets().into_iter().filter_map(|t| Some((t, state.tablets.get(&t)?.clone()))).collect();
    let parts = parts(&under_way, &old);
    end(state, id, None, at);
    for (tablet, was) in old {
        state.tablets.remove(&tablet);
        endings::add(state, tablet, &was);
    }
    for (tablet, range, table) in parts {
        state.tablets.insert(tablet, Tablet::new(table, range));
        if let Some((server, life)) = under_way.home
            && state.servers.get(&server).is_some_and(|s| s.live && s.incarnation == life && !s.draining)
        {
            tablets::give(state, tablet, server, at);
        }
    }
}

/// The tablets that a procedure makes of `old`, in key order.
#[must_use]
pub fn parts(under_way: &UnderWay, old: &[(TabletId, Tablet)]) -> Vec<(TabletId, KeyRange, TableId)> {
    match (&under_way.procedure, under_way.makes.as_slice(), old) {
        (Procedure::Split { at: Some(key), .. }, [lower, upper], [(_, was)]) => vec![
            (*lower, KeyRange { start: was.range.start.clone(), end: Some(key.clone()) }, was.table),
            (*upper, KeyRange { start: key.clone(), end: was.range.end.clone() }, was.table),
        ],
        (Procedure::Merge { .. }, [into], [(_, lower), (_, upper)]) => {
            vec![(*into, KeyRange { start: lower.range.start.clone(), end: upper.range.end.clone() }, lower.table)]
        }
        _ => Vec::new(),
    }
}

/// The new tablets cannot be made; the old ones go on. What was made of the new ones is taken away.
pub(super) fn failed(state: &mut ClusterState, id: ProcedureId, error: &str, at: Micros) {
    if state.procedures.get(&id).is_some_and(|p| p.step == Step::Deriving) {
        let makes = state.procedures.get(&id).map(|p| p.makes.clone()).unwrap_or_default();
        end(state, id, Some(error.to_owned()), at);
        makes.into_iter().for_each(|tablet| endings::add_unborn(state, tablet));
    }
}

/// Ends a procedure that has not closed all of its tablets.
///
/// # Errors
/// `NotFound` if it is not under way, `FailedPrecondition` if it is too far.
pub(super) fn cancel(state: &mut ClusterState, id: ProcedureId, why: &str, at: Micros) -> Result<()> {
    match state.procedures.get(&id).map(|p| p.step) {
        None => Err(Error::not_found(format!("procedure {id} is not under way"))),
        Some(Step::Deriving) => Err(Error::refused(format!("procedure {id} has closed its tablets: it ends by itself"))),
        Some(Step::Choosing | Step::Closing) => {
            end(state, id, Some(why.to_owned()), at);
            Ok(())
        }
    }
}

/// The life that owned a tablet is over: what waited for it fails, and the tablet goes on elsewhere.
pub(super) fn owner_lost(state: &mut ClusterState, tablet: TabletId, at: Micros) {
    if let Some(id) = state.tablets.get(&tablet).and_then(|t| t.procedure) {
        end(state, id, Some(format!("the server of tablet {tablet} has ended")), at);
    }
}

/// The table of these tablets is dropped.
pub(super) fn tablet_dropped(state: &mut ClusterState, tablet: TabletId, at: Micros) {
    let Some(id) = state.tablets.get(&tablet).and_then(|t| t.procedure) else { return };
    let makes = state.procedures.get(&id).map(|p| p.makes.clone()).unwrap_or_default();
    end(state, id, Some("the table was dropped".into()), at);
    makes.into_iter().for_each(|tablet| endings::add_unborn(state, tablet));
}

fn end(state: &mut ClusterState, id: ProcedureId, error: Option<String>, at: Micros) {
    let Some(was) = state.procedures.remove(&id) else { return };
    for tablet in was.tablets() {
        state.change_tablet(tablet, |t| t.procedure = None);
    }
    state.past.push_back(Past { id, was, ended_at: at, error });
    while state.past.len() > HISTORY {
        state.past.pop_front();
    }
}
