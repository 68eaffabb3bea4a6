//! The cluster's state and how entries change it: pure data, pure functions, no clock, no I/O.
//!
//! An entry is run on a copy that replaces the state only if all of it succeeded, so a command that
//! fails changes nothing, by construction; copies share what is the same ([`ClusterState`]). Modules: `ids`, `rows` and `copying` hold the data; `tables`,
//! `tablets`, `servers`, `fences`, `procedures`, `endings`, `pins`, `snapshots`, `copies`, `definitions`, `claims`, `publishing` and `watermarks`
//! change one concern each; `restored` brings a copy up to date; `view`
//! derives what gateways and tablet servers see; `invariants` says what always holds.

mod claims;
mod copies;
mod copying;
mod definitions;
mod endings;
mod environments;
mod fences;
mod graph;
mod holds;
mod ids;
pub mod invariants;
mod names;
mod pins;
mod procedures;
mod publishing;
mod restored;
mod rows;
mod servers;
mod snapshots;
mod splits;
mod tables;
mod tablets;
mod view;
mod watermarks;

#[cfg(test)]
mod tests;

pub use copying::{NewPart, TableProcedure, TableStep, TableWork};
pub use endings::Ending;
pub use environments::overdue as overdue_retired;
pub use pins::Pins;
pub use procedures::{Past, Step, UnderWay, parts};
pub use restored::{FAR, Found, FoundManifest, Restored, restore};
pub use rows::{Aborted, Claim, Definition, Derived, Fence, Life, Server, Tablet};
pub use snapshots::{TableSnapshot, WHY_SCHEDULE, object_name};
pub(crate) use view::differences;
pub use view::{catalog, catalog_changes, desired, desired_tablet, touched};

use crate::entry::{Change, Entry, What};
use common::catalog::RunRecord;
use common::ids::{ClaimId, ProcedureId, ServerId, TableId, TabletId};
use common::rpc::master::{Command, Reply, Schedule};
use common::schema::Table;
use common::time::Micros;
use common::{Error, Result};
use ids::Ids;
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything that Raft keeps.
///
/// What can be many is in persistent maps: a clone shares all of them, a change copies a path, and two states are compared,
/// or told apart, in the time of what differs ([`OrdMap::diff`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Grows with every change.
    pub version: u64,
    /// The numbers given last.
    ids: Ids,
    /// All tables.
    pub tables: OrdMap<TableId, Arc<Table>>,
    /// All tablets of those tables.
    pub tablets: OrdMap<TabletId, Tablet>,
    /// All servers that were ever registered.
    pub servers: OrdMap<ServerId, Server>,
    /// The ends of dead lives' logs, as long as some tablet may need them.
    pub fences: Vec<Fence>,
    /// Procedures under way.
    #[serde(default)]
    pub procedures: OrdMap<ProcedureId, UnderWay>,
    /// The newest that have ended, oldest first.
    #[serde(default)]
    pub past: Vector<Past>,
    /// Tablets that are no more, until their objects are deleted.
    #[serde(default)]
    pub ended: OrdMap<TabletId, Ending>,
    /// Who holds SSTables of other tablets.
    #[serde(default)]
    pub pins: Pins,
    /// Snapshots of tables, by the procedures that took them.
    #[serde(default)]
    pub snapshots: OrdMap<ProcedureId, Arc<TableSnapshot>>,
    /// Raw tables that snapshots are taken of again and again.
    #[serde(default)]
    pub schedules: OrdMap<TableId, Schedule>,
    /// Procedures on whole tables, under way and the newest that have ended.
    #[serde(default)]
    pub copies: OrdMap<ProcedureId, Arc<TableProcedure>>,
    /// Tables that cannot be dropped.
    #[serde(default)]
    pub protected: BTreeSet<TableId>,
    /// Applied definitions by the name of their table, the environment's mark included.
    pub definitions: OrdMap<String, Definition>,
    /// Definitions that others have taken the place of; their tables can be read until the time to undo is over.
    #[serde(default)]
    pub retired: OrdMap<String, Definition>,
    /// Grows with every change of definitions.
    #[serde(default)]
    pub definitions_version: u64,
    /// Where each derived table stands.
    pub derived: OrdMap<TableId, Derived>,
    /// Live claims.
    pub claims: OrdMap<ClaimId, Claim>,
    /// Watermarks set by loaders.
    pub watermarks: OrdMap<TableId, Micros>,
    /// Raw tables with an open bulk ingest.
    pub ingesting: BTreeSet<TableId>,
    /// Run records that are not yet in `system.runs`, oldest first.
    pub outbox: Vector<RunRecord>,
}

/// Takes out of a map what is not to be kept; a map that keeps everything goes on sharing all of it.
fn retain<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, V>, keep: impl Fn(&K, &V) -> bool) {
    let gone: Vec<K> = map.iter().filter(|(key, value)| !keep(key, value)).map(|(key, _)| key.clone()).collect();
    for key in &gone {
        map.remove(key);
    }
}

impl ClusterState {
    /// The table of this name.
    #[must_use]
    pub fn table_named(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.values().find(|t| t.name == name)
    }

    fn existing(&self, name: &str) -> Result<&Arc<Table>> {
        self.table_named(name).ok_or_else(|| Error::not_found(format!("table '{name}' does not exist")))
    }

    fn change_tablet(&mut self, id: TabletId, change: impl FnOnce(&mut Tablet)) {
        if let Some(tablet) = self.tablets.get_mut(&id) {
            change(tablet);
        }
    }

    /// The tablets of a table.
    pub fn tablets_of(&self, table: TableId) -> impl Iterator<Item = (TabletId, &Tablet)> {
        self.tablets.iter().filter(move |(_, t)| t.table == table).map(|(id, t)| (*id, t))
    }
}

/// Runs `entry`: all of it, or on an error nothing.
///
/// # Errors
/// Of the command; see [`Command`].
pub fn apply(state: &mut ClusterState, entry: &Entry) -> Result<Reply> {
    let mut next = state.clone();
    let reply = match &entry.what {
        What::Command(command) => run_command(&mut next, &command.0, entry.at)?,
        What::Change(change) => {
            run_change(&mut next, change, entry.at)?;
            done()
        }
    };
    if next != *state {
        next.version += 1;
        *state = next;
    }
    Ok(at_version(reply, state.version))
}

fn run_command(state: &mut ClusterState, command: &Command, at: Micros) -> Result<Reply> {
    match command {
        Command::CreateTable { spec } => {
            tables::create_raw(state, spec).map(|table| Reply::Table { table: Box::new(Table::clone(&table)), catalog: 0 })
        }
        Command::DropTable { name } => tables::drop_raw(state, name, at).map(|()| done()),
        Command::ApplyDefinitions { create, put, remove, base } => {
            environments::check_base(state, *base)?;
            create.iter().try_for_each(|spec| tables::create_raw(state, spec).map(drop))?;
            definitions::apply(state, put, remove, at).map(|()| done())
        }
        Command::Promote { environment, expected } => environments::promote(state, environment, expected, at).map(|()| done()),
        Command::DropEnvironment { environment } => environments::drop(state, environment, at).map(|()| done()),
        Command::PauseDerived { name, paused } => definitions::pause(state, name, *paused).map(|()| done()),
        Command::MarkDirty { name, windows } => definitions::mark_dirty(state, name, windows).map(|()| done()),
        Command::Claim { table, fingerprint, windows, whole, runner } => {
            claims::claim(state, &claims::Wanted { table: *table, fingerprint, windows, whole: *whole, runner })
        }
        Command::Publish(publish) => publishing::publish(state, publish, at).map(|version| Reply::Published { version, catalog: 0 }),
        Command::Abandon { claim, record } => claims::abandon(state, *claim, record.as_deref(), at).map(|()| done()),
        Command::MoveCursors { table, fingerprint, inputs } => {
            publishing::move_cursors(state, *table, fingerprint, inputs).map(|()| done())
        }
        Command::ClearRunRecords { runs } => {
            state.outbox.retain(|r| !runs.contains(&r.run));
            Ok(done())
        }
        Command::SetWatermark { name, at } => watermarks::set(state, name, *at).map(|()| done()),
        Command::RegisterServer => Ok(Reply::Registered { server: servers::register(state) }),
        Command::Begin { procedure } => procedures::begin(state, procedure, "operator", at).map(|procedure| Reply::Begun { procedure }),
        Command::Cancel { procedure } => match copies::cancel(state, *procedure, at)? {
            true => Ok(done()),
            false => procedures::cancel(state, *procedure, "cancelled", at).map(|()| done()),
        },
        Command::ProtectTable { name, protected } => tables::protect(state, name, *protected).map(|()| done()),
        Command::TakeSnapshot { table, name, expires_after } => {
            copies::take_snapshot(state, table, name, *expires_after, "operator", at).map(|procedure| Reply::Begun { procedure })
        }
        Command::DropSnapshot { table, name } => copies::drop_snapshot(state, table, name, at).map(|()| done()),
        Command::ScheduleSnapshots { table, schedule } => snapshots::schedule(state, table, *schedule).map(|()| done()),
        Command::CloneTable { source, name } => copies::clone_table(state, source, name, at).map(|procedure| Reply::Begun { procedure }),
        Command::BackupTable { source, location } => {
            copies::backup_table(state, source, location, at).map(|procedure| Reply::Begun { procedure })
        }
        Command::RestoreTable { location, name, contents } => {
            copies::restore_table(state, location, name, contents.as_deref(), at).map(|procedure| Reply::Begun { procedure })
        }
        Command::Drain { server, drain } => servers::drain(state, *server, *drain).map(|()| done()),
        Command::PinHome { referrer, .. } | Command::NarrowPins { referrer, .. } if !state.may_hold(referrer) => {
            Err(Error::refused(format!("{referrer} is not being taken: it can hold nothing")))
        }
        Command::PinHome { home, referrer } => {
            state.pins.pin_home(*home, referrer);
            Ok(done())
        }
        Command::NarrowPins { referrer, objects } => {
            state.pins.narrow(referrer, objects);
            Ok(done())
        }
        Command::ReleasePins { referrer, objects } => {
            state.pins.release(referrer, objects);
            Ok(done())
        }
        // The entry's own index is the number.
        Command::NewMaster { .. } => Ok(done()),
        Command::KeepClaims { .. }
        | Command::OpenIngest { .. }
        | Command::CloseIngest { .. }
        | Command::GetCatalog
        | Command::JoinMaster { .. }
        | Command::RemoveMaster { .. }
        | Command::ListMasters
        | Command::ListServers
        | Command::ListTablets { .. }
        | Command::ListProcedures
        | Command::ListSnapshots
        | Command::Deletable { .. } => Err(Error::internal("this command is the leader's, not for the Raft log")),
    }
}

fn run_change(state: &mut ClusterState, change: &Change, at: Micros) -> Result<()> {
    match change {
        Change::CreateSystemTables => tables::create_system(state)?,
        Change::ServerStarted { server, incarnation, address, log } => servers::started(state, (*server, *incarnation), address, *log, at)?,
        Change::ServerDead { server, incarnation } => servers::dead(state, *server, *incarnation, at),
        Change::Assign(assignments) => assignments.iter().for_each(|a| tablets::assign(state, a, at)),
        Change::LogFenced { server, incarnation, position } => {
            fences::fenced(state, Fence { server: *server, incarnation: *incarnation, position: *position });
        }
        Change::TabletsOpened(opened) => {
            opened.iter().for_each(|(id, epoch)| tablets::opened(state, *id, *epoch));
            fences::prune(state);
        }
        Change::TabletsClosed(closed) => {
            for (id, epoch) in closed {
                procedures::closed(state, *id, *epoch, at);
                endings::closed(state, *id);
            }
            fences::prune(state);
        }
        // What cannot begin any more was overtaken.
        Change::Begin { procedure, why } => drop(procedures::begin(state, &procedure.0, why, at)),
        Change::SplitChosen { procedure, at: key } => procedures::chosen(state, *procedure, key.as_ref(), at),
        Change::Derived { procedure } => procedures::derived(state, *procedure, at),
        Change::DeriveFailed { procedure, error } => procedures::failed(state, *procedure, error, at),
        Change::GiveUp { procedure, error } => drop(procedures::cancel(state, *procedure, error, at)),
        // A schedule that asks for what cannot be was overtaken.
        Change::TakeSnapshot { table, name } => drop(copies::take_snapshot(state, table, name, None, WHY_SCHEDULE, at)),
        Change::SnapshotPart { procedure, part } => copies::part(state, *procedure, part, at),
        Change::OutlivedSnapshots(outlived) => copies::drop_outlived(state, outlived),
        Change::SnapshotGone(id) => snapshots::gone(state, *id),
        Change::TableDone { procedure } => copies::done(state, *procedure, at),
        Change::TableFailed { procedure, error } => copies::fail(state, *procedure, error, at),
        Change::TabletEnded(tablet) => endings::done(state, *tablet),
        Change::ForgetRetired => environments::forget_retired(state, at),
        Change::ExpireClaims(expired) => expired.iter().for_each(|c| claims::abort(state, *c, at)),
        Change::Verified { table, ahead: false } => restored::verified(state, *table),
        Change::Verified { table, ahead: true } => restored::ahead(state, *table),
        Change::Settled { table, applied, dropped } => publishing::settled(state, *table, *applied, dropped),
        Change::Ingesting(tables) => watermarks::ingesting(state, tables),
    }
    Ok(())
}

/// A reply whose catalog version [`apply`] fills in.
fn done() -> Reply {
    Reply::Done { catalog: 0 }
}

fn at_version(reply: Reply, version: u64) -> Reply {
    match reply {
        Reply::Done { .. } => Reply::Done { catalog: version },
        Reply::Table { table, .. } => Reply::Table { table, catalog: version },
        Reply::Published { version: published, .. } => Reply::Published { version: published, catalog: version },
        other => other,
    }
}
