//! The leader's own work on procedures for whole tables: parts of snapshots, manifests of clones, copies of objects. Each piece
//! can be done twice, and by two leaders.

use super::node::Node;
use super::pins::NodePins;
use crate::backup::{self, Backup, Part, Sstable, Target};
use crate::entry::Change;
use crate::state::{ClusterState, NewPart, TableProcedure, TableSnapshot, TableStep, TableWork, object_name};
use common::ids::{Epoch, ProcedureId, TableId, TabletId};
use common::objects::SstableName;
use common::rpc::master::{SnapshotPartView, SnapshotStage};
use common::store::SharedStore;
use common::{Error, ErrorKind, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use storage::format::{Manifest, SstableRef, names};
use storage::procedures::{NewTablet, Procedures, RenamedEnd, Source};

/// Objects that are copied at once, each with a part in memory.
const COPIES: usize = 4;
/// Manifests that are put at once.
const MANIFESTS: usize = 8;

/// How far this leader is with procedures; plain, because nothing is awaited under it.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<BTreeMap<ProcedureId, String>>);

impl Progress {
    /// What is known of one.
    pub(super) fn of(&self, id: ProcedureId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn set(&self, id: ProcedureId, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, text);
    }

    fn end(&self, id: ProcedureId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Parts of snapshots whose tablets their owners have flushed.
pub(super) fn flushed(node: &Node, state: &ClusterState) -> Vec<(ProcedureId, TabletId)> {
    let taking = state.snapshots_under_way();
    if taking.is_empty() {
        return Vec::new();
    }
    let memory = node.memory();
    let mut flushed = Vec::new();
    for (id, snapshot) in taking {
        let wanted = state.tablets_of(snapshot.table.id).filter(|(_, t)| snapshot.wants(t.table, &t.range));
        let done = wanted.filter(|(tablet, t)| memory.report_on(*tablet, t).is_some_and(|r| r.flushed >= Some(id)));
        flushed.extend(done.map(|(tablet, _)| (id, tablet)));
    }
    flushed
}

/// Procedures that wait for the leader.
pub(super) fn waiting(state: &ClusterState) -> Vec<ProcedureId> {
    state.copies.iter().filter(|(_, p)| p.is_under_way() && p.step == TableStep::Copying).map(|(id, _)| *id).collect()
}

/// Snapshots whose objects are to be deleted.
pub(super) fn dropped(state: &ClusterState) -> Vec<ProcedureId> {
    state.snapshots.iter().filter(|(_, s)| s.stage == SnapshotStage::Dropping).map(|(id, _)| *id).collect()
}

/// Takes a part of a snapshot.
pub(super) async fn take_part(node: &Arc<Node>, id: ProcedureId, tablet: TabletId) -> Result<()> {
    let procedures = Procedures::new(node.store.clone(), NodePins::new(node));
    let manifest = procedures.take_snapshot(&object_name(id), tablet).await?;
    let bytes = manifest.sstables.iter().map(|s| s.size).sum();
    let part = SnapshotPartView { tablet, range: manifest.range, seq: manifest.flushed, bytes };
    node.change(Change::SnapshotPart { procedure: id, part }).await
}

/// Deletes what a dropped snapshot has left.
pub(super) async fn drop_snapshot(node: &Arc<Node>, id: ProcedureId) -> Result<()> {
    let procedures = Procedures::new(node.store.clone(), NodePins::new(node));
    procedures.delete_snapshots(&object_name(id)).await?;
    node.change(Change::SnapshotGone(id)).await
}

/// Does what a procedure waits for, and ends it.
pub(super) async fn carry_on(node: &Arc<Node>, id: ProcedureId) -> Result<()> {
    let applied = node.state();
    let Some(procedure) = applied.state.copies.get(&id).filter(|p| p.is_under_way()) else { return Ok(()) };
    let work = Work { node, id, procedures: Procedures::new(node.store.clone(), NodePins::new(node)) };
    let change = match work.carry_on(&applied.state, procedure).await {
        Ok(()) => Change::TableDone { procedure: id },
        // Whoever has ended it has said why.
        Err(_) if !work.is_wanted() => return work.tidy_up(procedure).await,
        Err(e) if is_final(&e) => {
            tracing::warn!(procedure = procedure.describe(), error = %e, "a procedure fails");
            node.change(Change::TableFailed { procedure: id, error: e.message }).await?;
            return work.tidy_up(procedure).await;
        }
        Err(e) => {
            node.progress.set(id, format!("will be tried again: {e}"));
            return Err(e);
        }
    };
    node.change(change).await?;
    node.progress.end(id);
    Ok(())
}

/// Whether another attempt would end in the same way.
fn is_final(e: &Error) -> bool {
    use ErrorKind::{AlreadyExists, Corrupt, FailedPrecondition, InvalidArgument, NotFound};
    matches!(e.kind, FailedPrecondition | InvalidArgument | NotFound | Corrupt | AlreadyExists)
}

/// One attempt at a procedure.
struct Work<'a> {
    node: &'a Arc<Node>,
    id: ProcedureId,
    procedures: Procedures,
}

impl Work<'_> {
    async fn carry_on(&self, state: &ClusterState, procedure: &TableProcedure) -> Result<()> {
        let snapshot = |id: &ProcedureId| {
            let found = state.snapshots.get(id).map(|s| (object_name(*id), s));
            found.ok_or_else(|| Error::not_found(format!("the snapshot of procedure {id} is gone")))
        };
        match &procedure.what {
            // It counts once the state's copy has it.
            TableWork::Snapshot { .. } => Ok(()),
            TableWork::Clone { snapshot: of, table, makes, .. } => self.clone_tablets(&snapshot(of)?.0, table.id, makes).await,
            TableWork::Backup { snapshot: of, location, .. } => {
                let (name, snapshot) = snapshot(of)?;
                self.back_up(&name, snapshot, location).await
            }
            TableWork::Restore { location, backup, table, makes, .. } => self.restore(location, backup, table.id, makes).await,
        }
    }

    /// Whether this node leads, and nobody has ended the procedure.
    fn is_wanted(&self) -> bool {
        self.node.leads_in().is_some() && self.node.state().state.copies.get(&self.id).is_some_and(|p| p.is_under_way())
    }

    fn check_wanted(&self) -> Result<()> {
        if self.is_wanted() { Ok(()) } else { Err(Error::unavailable("the procedure has ended, or another master leads")) }
    }

    async fn clone_tablets(&self, snapshot: &str, table: TableId, makes: &[NewPart]) -> Result<()> {
        let clone = |part: &NewPart| {
            let source = Source::Snapshot { name: snapshot.to_owned(), tablet: part.from };
            let new = NewTablet { tablet: part.tablet, table, range: part.range.clone() };
            async move {
                self.check_wanted()?;
                self.procedures.clone_tablet(&source, &new).await
            }
        };
        // Each is a future of its own before it is polled: closures that borrow are no streams of futures that are `Send`.
        let all: Vec<_> = makes.iter().map(clone).collect();
        futures::stream::iter(all).buffer_unordered(MANIFESTS).try_collect().await
    }

    async fn back_up(&self, name: &str, snapshot: &TableSnapshot, location: &str) -> Result<()> {
        let place = backup::open(location)?;
        let folder = backup::name_of(&self.node.cluster, self.id);
        let mut manifests = BTreeMap::new();
        for tablet in snapshot.parts.iter().map(|p| p.tablet).collect::<BTreeSet<_>>() {
            manifests.insert(tablet, self.procedures.snapshot(name, tablet).await?);
        }
        let mut sizes = BTreeMap::new();
        for part in &snapshot.parts {
            let named = manifests[&part.tablet].sstables.iter().filter_map(|s| s.within(&part.range));
            sizes.extend(named.map(|s| (s.name, s.size)));
        }
        let sstables = self.copy_sstables(&place, &folder, &sizes).await?;
        let mut parts = Vec::new();
        for part in &snapshot.parts {
            let from = Target { store: &self.node.store, path: names::snapshot(name, part.tablet) };
            let path = Path::from(Backup::manifest_path(&folder, part.tablet));
            let size = manifests[&part.tablet].encode()?.len() as u64;
            let manifest = backup::copy(from, Target { store: &place, path }, size).await?;
            parts.push(Part { tablet: part.tablet, range: part.range.clone(), seq: part.seq, manifest });
        }
        self.check_wanted()?;
        let document = Backup {
            backup: folder,
            begun_at: snapshot.begun_at,
            taken_at: snapshot.taken_at.unwrap_or(snapshot.begun_at),
            table: snapshot.table.as_ref().clone(),
            watermark: snapshot.watermark,
            parts,
            sstables,
        };
        backup::finish(&place, &document).await
    }

    async fn copy_sstables(&self, place: &SharedStore, folder: &str, sizes: &BTreeMap<SstableName, u64>) -> Result<Vec<Sstable>> {
        let (done, all) = (AtomicU64::new(0), sizes.len());
        let bytes = AtomicU64::new(0);
        let copy = |(name, size): (&SstableName, &u64)| {
            let (name, size) = (*name, *size);
            let (done, bytes) = (&done, &bytes);
            async move {
                self.check_wanted()?;
                let from = Target { store: &self.node.store, path: names::sstable(&name) };
                let to = Target { store: place, path: Path::from(Backup::sstable_path(folder, &name)) };
                let object = backup::copy(from, to, size).await?;
                self.note(done, bytes, size, all);
                Ok::<_, Error>(Sstable { name, object })
            }
        };
        let copies: Vec<_> = sizes.iter().map(copy).collect();
        futures::stream::iter(copies).buffered(COPIES).try_collect().await
    }

    fn note(&self, done: &AtomicU64, bytes: &AtomicU64, size: u64, all: usize) {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = bytes.fetch_add(size, Ordering::Relaxed) + size;
        self.node.progress.set(self.id, format!("{done} of {all} SSTables, {bytes} bytes"));
    }

    async fn restore(&self, location: &str, expected: &str, table: TableId, makes: &[NewPart]) -> Result<()> {
        let of_backup = |e: Error| e.context(format!("backup at '{location}'"));
        let (place, found) = (backup::open(location)?, backup::read(location).await?);
        if found.backup != expected {
            return Err(Error::refused(format!("'{location}' holds backup {} now, no longer {expected}", found.backup)));
        }
        let mut manifests = Vec::new();
        for part in makes {
            let noted = found.parts.iter().find(|p| p.tablet == part.from && p.range == part.range);
            let noted = noted.ok_or_else(|| Error::corrupt(format!("the backup has no part of tablet {}", part.from)))?;
            let bytes = backup::read_exactly(&place, &noted.manifest).await.map_err(of_backup)?;
            let decoded = Manifest::decode(&bytes).map_err(|e| of_backup(e.context(format!("object '{}'", noted.manifest.path))))?;
            manifests.push((part, decoded));
        }
        let brought = self.bring_sstables(&place, &found, &rename(&manifests)).await.map_err(of_backup)?;
        for (part, manifest) in &manifests {
            self.check_wanted()?;
            let new = NewTablet { tablet: part.tablet, table, range: part.range.clone() };
            // All that the part's manifest names within its range has been brought.
            let renamed = |s: &SstableRef| brought.get(&s.name).copied().unwrap_or((s.name, s.size));
            self.procedures.adopt_tablet(manifest, &new, renamed).await?;
        }
        Ok(())
    }

    /// Copies SSTables under new names; gives these, with their sizes.
    async fn bring_sstables(
        &self,
        place: &SharedStore,
        found: &Backup,
        renamed: &Renamed<SstableName>,
    ) -> Result<Renamed<(SstableName, u64)>> {
        let noted: BTreeMap<_, _> = found.sstables.iter().map(|s| (s.name, &s.object)).collect();
        let (done, bytes, all) = (AtomicU64::new(0), AtomicU64::new(0), renamed.len());
        let bring = |(old, new): (&SstableName, &SstableName)| {
            let (noted, new, old) = (noted.get(old).copied(), *new, *old);
            let (done, bytes) = (&done, &bytes);
            async move {
                self.check_wanted()?;
                let noted = noted.ok_or_else(|| Error::corrupt(format!("it lacks SSTable {old:?}, which a manifest names")))?;
                let from = Target { store: place, path: Path::from(noted.path.as_str()) };
                let to = Target { store: &self.node.store, path: names::sstable(&new) };
                let end = RenamedEnd::read(place, &from.path, noted.size, old, new).await?;
                backup::copy_renamed(from, to, noted, &end).await?;
                self.note(done, bytes, noted.size, all);
                Ok::<_, Error>((old, (new, end.size())))
            }
        };
        let copies: Vec<_> = renamed.iter().map(bring).collect();
        futures::stream::iter(copies).buffer_unordered(COPIES).try_collect().await
    }

    /// What a backup that has come to nothing has copied is of no use to anybody. What was made of new tablets is deleted
    /// by their ends. Only a committed failure counts: another leader may have finished what seems to fail here.
    async fn tidy_up(&self, procedure: &TableProcedure) -> Result<()> {
        self.node.progress.end(self.id);
        let TableWork::Backup { location, .. } = &procedure.what else { return Ok(()) };
        let failed = self.node.state().state.copies.get(&self.id).is_some_and(|p| p.error.is_some());
        if !failed {
            return Ok(());
        }
        let folder = backup::name_of(&self.node.cluster, self.id);
        let deleted = async { backup::delete_all(&backup::open(location)?, &Path::from(folder.as_str())).await };
        if let Err(e) = deleted.await {
            tracing::warn!(location, folder, error = %e, "what a failed backup has copied stays there");
        }
        Ok(())
    }
}

/// Something of each SSTable of a backup.
type Renamed<T> = BTreeMap<SstableName, T>;

/// New names for all SSTables that the parts name: their home is the first tablet that names them, at an epoch that no owner has.
fn rename(manifests: &[(&NewPart, Manifest)]) -> BTreeMap<SstableName, SstableName> {
    let mut renamed = BTreeMap::new();
    for (part, manifest) in manifests {
        let mut number = 0;
        for sstable in manifest.sstables.iter().filter_map(|s| s.within(&part.range)) {
            renamed.entry(sstable.name).or_insert_with(|| {
                number += 1;
                SstableName { home: part.tablet, epoch: Epoch(0), number }
            });
        }
    }
    renamed
}
