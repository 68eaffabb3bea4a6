//! New tablets over the SSTables of others.

use super::{Procedures, Referrer};
use crate::compaction::Points;
use crate::format::{LogName, Manifest, NO_SEGMENT, SstableName, SstableRef};
use crate::manifest::ManifestStore;
use common::ids::{Epoch, Incarnation, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::{Error, Result};
use std::fmt;

/// What a clone is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A tablet as it is, as far as it is flushed.
    Tablet(TabletId),
    /// A named snapshot.
    Snapshot {
        /// Its name.
        name: String,
        /// The tablet that it is of.
        tablet: TabletId,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tablet(tablet) => write!(f, "tablet {tablet}"),
            Self::Snapshot { name, tablet } => write!(f, "snapshot '{name}' of tablet {tablet}"),
        }
    }
}

/// A tablet to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTablet {
    /// Its id, never used before.
    pub tablet: TabletId,
    /// Its table.
    pub table: TableId,
    /// Its rows.
    pub range: KeyRange,
}

impl Procedures {
    /// Makes a tablet that begins as the source, within its own range. Its seqs go on from the source's; rows of runs
    /// that are not published stay behind. A clone made before is left as it is.
    ///
    /// # Errors
    /// `FailedPrecondition` if the range is not inside the source's, if another tablet has that id, or without object
    /// pins; `NotFound` if there is no such source; `Unavailable`: it can be repeated.
    pub async fn clone_tablet(&self, source: &Source, new: &NewTablet) -> Result<()> {
        let referrer = Referrer::Tablet(new.tablet);
        let found = self.pinned(&referrer, source).await?;
        if !found.range.covers(&new.range) || new.range.is_empty() {
            return Err(Error::refused(format!("range {:?} does not lie in that of {source}, {:?}", new.range, found.range)));
        }
        self.begin(child(&found, new)).await
    }

    /// Makes a tablet that begins as a manifest of another cluster, or of another time, within its own range. Its SSTables must
    /// be there already, under the names and with the sizes that `renamed` gives them; those with another home are held for it.
    /// One made before is left as it is.
    ///
    /// # Errors
    /// `FailedPrecondition` if the range is not inside the manifest's, or if another tablet has that id; `Unavailable`: it can be
    /// repeated.
    pub async fn adopt_tablet(
        &self,
        source: &Manifest,
        new: &NewTablet,
        renamed: impl Fn(&SstableRef) -> (SstableName, u64),
    ) -> Result<()> {
        if !source.range.covers(&new.range) || new.range.is_empty() {
            return Err(Error::refused(format!("range {:?} does not lie in {:?}", new.range, source.range)));
        }
        let mut manifest = child(source, new);
        for sstable in &mut manifest.sstables {
            (sstable.name, sstable.size) = renamed(sstable);
        }
        let own = manifest.sstables.iter().filter(|s| s.name.home == new.tablet).map(|s| s.name.number);
        manifest.next_sstable = own.max().map_or(1, |last| last + 1);
        // No log of this cluster has anything of it.
        let nobody = LogName { server: ServerId(0), incarnation: Incarnation(0) };
        (manifest.owner, manifest.log) = (nobody, nobody);
        self.narrow(&Referrer::Tablet(new.tablet), &manifest).await?;
        self.begin(manifest).await
    }

    /// Makes tablets of the parts of a closed one; `epoch`, higher than all before, ends the parent's last owner. The
    /// parent's manifest stays as it was, until [`Self::end_tablet`].
    ///
    /// # Errors
    /// `FailedPrecondition` if the parts are not exactly the parent, if it was not closed with everything flushed, if it
    /// has rows of unpublished runs, or without object pins; `Fenced` if it has a newer owner; `Unavailable`: it can be
    /// repeated with a higher epoch.
    pub async fn split_tablet(&self, parent: TabletId, epoch: Epoch, parts: &[NewTablet]) -> Result<()> {
        self.fence(parent, epoch).await?;
        for part in parts {
            let found = self.pinned(&Referrer::Tablet(part.tablet), &Source::Tablet(parent)).await?;
            check_parts(&found, parts)?;
            self.begin(Manifest { requests_from: found.remembering(), ..child(&found, part) }).await?;
        }
        Ok(())
    }

    /// Makes one tablet of two closed neighbours, given in key order, each with the epoch that ends its last owner. It
    /// goes on from the higher seq. What is readable of both stays readable: of single points, those that both keep.
    ///
    /// # Errors
    /// As for [`Self::split_tablet`]; also `FailedPrecondition` if the two are not neighbours of one table, if derived
    /// tablets have applied different versions, or if both name parts of one SSTable with a gap between them.
    pub async fn merge_tablets(&self, parents: [(TabletId, Epoch); 2], into: &NewTablet) -> Result<()> {
        let mut found = Vec::new();
        for (parent, epoch) in parents {
            self.fence(parent, epoch).await?;
            found.push(self.pinned(&Referrer::Tablet(into.tablet), &Source::Tablet(parent)).await?);
        }
        self.begin(joined(&found[0], &found[1], into)?).await
    }

    /// Takes a closed tablet over, so that its manifest stays as it is.
    async fn fence(&self, tablet: TabletId, epoch: Epoch) -> Result<()> {
        let (number, found) = self.newest(tablet).await?;
        if found.log_from != NO_SEGMENT {
            return Err(Error::refused(format!("tablet {tablet} is not closed: its log holds rows that are not flushed; close it first")));
        }
        if !found.staged.is_empty() {
            let runs: Vec<_> = found.staged.iter().map(|s| s.run.to_string()).collect();
            return Err(Error::refused(format!("tablet {tablet} has staged rows of runs {}: apply or drop them first", runs.join(", "))));
        }
        if found.epoch > epoch {
            return Err(Error::fenced(format!("tablet {tablet}: epoch {epoch} is not above {}", found.epoch)));
        }
        if found.epoch == epoch {
            // An earlier attempt of this procedure.
            return Ok(());
        }
        ManifestStore::take(self.store.clone(), number, Manifest { epoch, ..found }).await.map(|_| ())
    }

    /// Steps 3 and 4.
    async fn begin(&self, manifest: Manifest) -> Result<()> {
        let (tablet, store) = (manifest.tablet, self.store.clone());
        let current = match ManifestStore::newest(store.clone(), tablet).await? {
            None => ManifestStore::take(store, 0, manifest).await?.current().clone(),
            Some((_, there)) if there.range == manifest.range && there.table == manifest.table => there,
            Some((_, there)) => {
                let text = format!("tablet {tablet} exists already, of table {} and range {:?}", there.table, there.range);
                return Err(Error::refused(text));
            }
        };
        self.narrow(&Referrer::Tablet(tablet), &current).await
    }
}

/// The first manifest of a tablet made of a part of another. Nobody has owned it: its epoch is 0. Requests to the other one
/// are none to it.
fn child(of: &Manifest, new: &NewTablet) -> Manifest {
    Manifest {
        table: new.table,
        tablet: new.tablet,
        range: new.range.clone(),
        epoch: Epoch(0),
        log_epoch: Epoch(0),
        log_from: NO_SEGMENT,
        requests_from: Vec::new(),
        staged: Vec::new(),
        next_sstable: 1,
        sstables: of.sstables.iter().filter_map(|s| s.within(&new.range)).collect(),
        ..of.clone()
    }
}

fn check_parts(parent: &Manifest, parts: &[NewTablet]) -> Result<()> {
    let mut next = Some(parent.range.start.clone());
    for part in parts {
        if next.as_ref() != Some(&part.range.start) || part.range.is_empty() || part.table != parent.table {
            return Err(Error::refused(format!("the parts do not make up tablet {}: {:?} does not fit", parent.tablet, part.range)));
        }
        next = part.range.end.clone();
    }
    if next != parent.range.end {
        return Err(Error::refused(format!("the parts do not make up tablet {}: they do not end where it ends", parent.tablet)));
    }
    Ok(())
}

fn joined(left: &Manifest, right: &Manifest, into: &NewTablet) -> Result<Manifest> {
    let range = KeyRange { start: left.range.start.clone(), end: right.range.end.clone() };
    let neighbours = left.range.end.as_ref() == Some(&right.range.start) && left.table == right.table;
    if !neighbours || into.range != range || into.table != left.table {
        let text = format!("tablets {} and {} do not make up range {:?} of table {}", left.tablet, right.tablet, into.range, into.table);
        return Err(Error::refused(text));
    }
    if left.applied != right.applied && left.applied.max(right.applied) > Seq::ZERO {
        let text = format!("tablets {} and {} have applied versions {} and {}", left.tablet, right.tablet, left.applied, right.applied);
        return Err(Error::refused(format!("{text}: apply what is missing first")));
    }
    let points = |m: &Manifest| Points::new(m.points.clone(), m.floor);
    let readable = points(left).meet(&points(right));
    Ok(Manifest {
        flushed: left.flushed.max(right.flushed),
        floor: readable.floor(),
        points: readable.kept().to_vec(),
        highest_timestamp: left.highest_timestamp.max(right.highest_timestamp),
        schema_version: left.schema_version.max(right.schema_version),
        sstables: join_references(left, right)?,
        requests_from: [left.remembering(), right.remembering()].concat(),
        ..child(left, into)
    })
}

/// The SSTables of both; two parts of one that meet become one.
fn join_references(left: &Manifest, right: &Manifest) -> Result<Vec<SstableRef>> {
    let mut all = left.sstables.clone();
    for part in &right.sstables {
        match all.iter_mut().find(|s| s.name == part.name) {
            None => all.push(part.clone()),
            Some(there) if there.range.end.as_ref() == Some(&part.range.start) => {
                there.range.end = part.range.end.clone();
                there.range_deletes = part.span_of_both(there);
            }
            Some(_) => {
                let text = format!("tablets {} and {} name parts of SSTable {:?} that do not meet", left.tablet, right.tablet, part.name);
                return Err(Error::refused(format!("{text}: compact one of them first")));
            }
        }
    }
    Ok(all)
}
