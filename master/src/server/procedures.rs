//! The leader's own work on procedures: manifests of new tablets, deletion of ended ones. Each piece can be done twice, and
//! by two leaders: manifests are created if absent, under epochs that Raft has given.

use super::copies;
use super::node::Node;
use super::pins::NodePins;
use crate::entry::Change;
use crate::state::{ClusterState, Step, UnderWay, parts};
use common::ids::{Epoch, ProcedureId, TabletId};
use common::objects::Referrer;
use common::rpc::master::Procedure;
use common::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::procedures::{NewTablet, ObjectPins, Procedures};

/// Between attempts at what the object store has refused.
const RETRY: Duration = Duration::from_millis(500);

/// Pieces of work at once: each makes several requests to the object store. Whoever ends one looks for the next.
const AT_ONCE: usize = 16;

/// What tasks are at.
#[derive(Debug, Default)]
pub(super) struct Working(Mutex<BTreeSet<Work>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Derive(ProcedureId),
    End(TabletId, Epoch),
    /// A part of a snapshot.
    Part(ProcedureId, TabletId),
    /// A procedure on a table.
    Table(ProcedureId),
    /// A dropped snapshot.
    Drop(ProcedureId),
}

impl Working {
    fn is_full(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() >= AT_ONCE
    }

    fn begin(&self, work: Work) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(work)
    }

    fn end(&self, work: Work) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&work);
    }
}

/// Begins what is due, while this node leads. What fails is repeated at a later look.
pub(super) fn start(node: &Arc<Node>) {
    if node.leads_in().is_none() {
        return;
    }
    let applied = node.state();
    let derive = applied.state.procedures.iter().filter(|(_, p)| p.step == Step::Deriving).map(|(id, _)| Work::Derive(*id));
    let end = applied.state.deletable_tablets().into_iter().map(|(tablet, epoch)| Work::End(tablet, epoch));
    let parts = copies::flushed(node, &applied.state).into_iter().map(|(id, tablet)| Work::Part(id, tablet));
    // They may take hours, splits and merges may not wait for them.
    let tables = copies::waiting(&applied.state).into_iter().take(AT_ONCE / 2).map(Work::Table);
    let drops = copies::dropped(&applied.state).into_iter().map(Work::Drop);
    for work in derive.chain(end).chain(parts).chain(tables).chain(drops) {
        if node.working.is_full() {
            return;
        }
        if !node.working.begin(work) {
            continue;
        }
        let node = node.clone();
        tokio::spawn(async move {
            if let Err(e) = carry_out(&node, work).await {
                tracing::warn!(?work, error = %e, "a procedure's step is repeated");
                tokio::time::sleep(RETRY).await;
            }
            node.working.end(work);
            node.wake.notify_one();
        });
    }
}

async fn carry_out(node: &Arc<Node>, work: Work) -> Result<()> {
    let pins = NodePins::new(node);
    let procedures = Procedures::new(node.store.clone(), pins.clone());
    let applied = node.state();
    // What is deleted, and which tablets begin, must be known to whoever restores the state from its copy.
    if !matches!(work, Work::Part(..)) {
        node.copier.wait(applied.index()).await?;
    }
    match work {
        Work::Part(id, tablet) => copies::take_part(node, id, tablet).await,
        Work::Table(id) => copies::carry_on(node, id).await,
        Work::Drop(id) => copies::drop_snapshot(node, id).await,
        Work::Derive(id) => {
            let Some(under_way) = applied.state.procedures.get(&id) else { return Ok(()) };
            let change = match derive(&procedures, &applied.state, under_way).await {
                Ok(()) => Change::Derived { procedure: id },
                Err(e) if is_final(&e) => {
                    tracing::warn!(procedure = %under_way.procedure, error = %e, "a procedure fails");
                    Change::DeriveFailed { procedure: id, error: e.message }
                }
                Err(e) => return Err(e),
            };
            node.change(change).await
        }
        Work::End(tablet, epoch) => {
            if procedures.end_tablet(tablet, epoch).await? > 0 {
                return Err(Error::unavailable("somebody holds a part of it again"));
            }
            // A tablet that was never born may have left holds.
            pins.narrow(&Referrer::Tablet(tablet), &[]).await?;
            node.change(Change::TabletEnded(tablet)).await
        }
    }
}

/// Whether another attempt would end in the same way.
fn is_final(e: &Error) -> bool {
    matches!(e.kind, ErrorKind::FailedPrecondition | ErrorKind::InvalidArgument | ErrorKind::NotFound)
}

async fn derive(procedures: &Procedures, state: &ClusterState, under_way: &UnderWay) -> Result<()> {
    let old: Vec<_> = under_way.tablets().into_iter().filter_map(|id| Some((id, state.tablets.get(&id)?.clone()))).collect();
    let parts = parts(under_way, &old);
    let new: Vec<_> = parts.into_iter().map(|(tablet, range, table)| NewTablet { tablet, table, range }).collect();
    match (&under_way.procedure, old.as_slice(), new.as_slice()) {
        (Procedure::Split { .. }, [(parent, was)], [_, _]) => procedures.split_tablet(*parent, was.epoch, &new).await,
        (Procedure::Merge { .. }, [(a, lower), (b, upper)], [into]) => {
            procedures.merge_tablets([(*a, lower.epoch), (*b, upper.epoch)], into).await
        }
        _ => Err(Error::internal(format!("procedure '{}' has nothing to make", under_way.procedure))),
    }
}
