//! The manifest: a tablet's live SSTables and its position in the log.

use super::slice::SliceKey;
use bytes::Bytes;
use common::Result;
use common::envelope::{self, Magic};
use common::ids::{Epoch, FamilyId, Incarnation, RunId, SchemaVersion, Seq, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::objects::SstableName;
use common::time::Micros;
use serde::{Deserialize, Serialize};

/// Kind of a manifest.
pub const MANIFEST_MAGIC: Magic = *b"STLM";
/// Format version of manifests.
pub const MANIFEST_FORMAT: u16 = 4;

/// `log_from` of a tablet that ended cleanly, with everything flushed.
pub const NO_SEGMENT: u64 = u64::MAX;

/// One incarnation's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogName {
    /// Whose.
    pub server: ServerId,
    /// Of which life.
    pub incarnation: Incarnation,
}

/// What one owner of a tablet has written into a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPart {
    /// The log.
    pub log: LogName,
    /// The tablet.
    pub tablet: TabletId,
    /// The owner's epoch.
    pub epoch: Epoch,
}

/// A live SSTable: all that a tablet must know of it before it reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SstableRef {
    /// Which.
    pub name: SstableName,
    /// 0: flushed. Above, and in leveled compaction only, SSTables of one level and slice have disjoint keys.
    pub level: u32,
    /// What its rows and cells have in common.
    pub slice: SliceKey,
    /// Families that may have cells inside.
    pub families: Vec<FamilyId>,
    /// The part of it that belongs to this tablet; row-range deletes are clipped to it too.
    pub range: KeyRange,
    /// First and last row key with cells.
    pub keys: Option<(Bytes, Bytes)>,
    /// First and last row key with deletes.
    pub delete_keys: Option<(Bytes, Bytes)>,
    /// A range that holds all row-range deletes.
    pub range_deletes: Option<KeyRange>,
    /// Lowest and highest seq inside.
    pub seqs: (Seq, Seq),
    /// Lowest and highest seq of deletes of any kind.
    pub delete_seqs: Option<(Seq, Seq)>,
    /// The seq of all that it has, if it was written before it was numbered: what the object says of seqs does not count.
    pub given: Option<Seq>,
    /// Lowest and highest cell timestamp inside; the lower is above the higher if there is no cell.
    pub timestamps: (Micros, Micros),
    /// Lowest and highest event time if the row key of every row inside has one.
    pub event_times: Option<(Micros, Micros)>,
    /// Bytes of the object.
    pub size: u64,
    /// Rows with cells.
    pub rows: u64,
    /// Cells.
    pub puts: u64,
    /// Deletes.
    pub deletes: u64,
}

impl SstableRef {
    /// The part of it inside `range`; `None` if nothing is.
    #[must_use]
    pub fn within(&self, range: &KeyRange) -> Option<Self> {
        let range = self.range.intersect(range)?;
        let meets = |keys: &Option<(Bytes, Bytes)>| {
            keys.as_ref().is_some_and(|(first, last)| *last >= range.start && range.end.as_ref().is_none_or(|end| first < end))
        };
        let range_deletes = self.range_deletes.as_ref().and_then(|deleted| deleted.intersect(&range));
        let any = meets(&self.keys) || meets(&self.delete_keys) || range_deletes.is_some();
        any.then(|| Self { range, range_deletes, ..self.clone() })
    }

    /// The same, as of one seq: of an SSTable that was written before it was numbered.
    #[must_use]
    pub fn numbered(self, seq: Seq) -> Self {
        Self { seqs: (seq, seq), delete_seqs: self.delete_seqs.map(|_| (seq, seq)), given: Some(seq), ..self }
    }

    /// Whether what it says of its seqs fits together.
    fn is_numbered_well(&self) -> bool {
        self.seqs.0 <= self.seqs.1 && self.given.is_none_or(|seq| self.seqs == (seq, seq))
    }

    /// A range that holds the row-range deletes of two parts of one SSTable, this one behind the other.
    #[must_use]
    pub fn span_of_both(&self, before: &Self) -> Option<KeyRange> {
        match (&before.range_deletes, &self.range_deletes) {
            (Some(a), Some(b)) => Some(KeyRange { start: a.start.clone(), end: b.end.clone() }),
            (a, b) => a.clone().or_else(|| b.clone()),
        }
    }

    /// Whether all that it has lies in `range`.
    pub(crate) fn lies_within(&self, range: &KeyRange) -> bool {
        let within =
            |keys: &Option<(Bytes, Bytes)>| keys.as_ref().is_none_or(|(first, last)| range.contains(first) && range.contains(last));
        let ranges = self.range_deletes.as_ref().is_none_or(|deleted| range.covers(deleted));
        range.covers(&self.range) || (within(&self.keys) && within(&self.delete_keys) && ranges)
    }

    /// Whether a cell or delete inside may be of this row key.
    pub(crate) fn may_have(&self, key: &[u8]) -> bool {
        let within =
            |keys: &Option<(Bytes, Bytes)>| keys.as_ref().is_some_and(|(first, last)| first.as_ref() <= key && key <= last.as_ref());
        self.range.contains(key)
            && (within(&self.keys) || within(&self.delete_keys) || self.range_deletes.as_ref().is_some_and(|r| r.contains(key)))
    }
}

/// A run's staged rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedRef {
    /// The run.
    pub run: RunId,
    /// First log segment that holds rows of it; 0: none does.
    pub log_from: u64,
    /// SSTables that hold rows of it.
    pub sstables: Vec<SstableRef>,
}

/// One version of a tablet's manifest.
///
/// Invariants: `points` rise, `points < floor ≤ flushed`, `applied ≤ flushed`, `log_epoch ≤ epoch`; the seqs of all
/// `sstables` lie at or below `flushed`; `log_epoch` is 0 until the tablet has had an owner. They may overlap, and the order of `sstables` says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its table.
    pub table: TableId,
    /// Its tablet.
    pub tablet: TabletId,
    /// Its rows.
    pub range: KeyRange,
    /// Of the owner that put it.
    pub epoch: Epoch,
    /// The owner that put it.
    pub owner: LogName,
    /// The log that holds what is not flushed. Differs from `owner` until recovery is done.
    pub log: LogName,
    /// The epoch of this tablet's records in that log.
    pub log_epoch: Epoch,
    /// The first segment of that log that recovery needs; [`NO_SEGMENT`] after a clean end: none.
    pub log_from: u64,
    /// Where else requests are remembered: by the tablets that this one was split from or merged of. Empty once an owner
    /// has copied them to its own log.
    pub requests_from: Vec<LogPart>,
    /// Every seq up to here is in SSTables.
    pub flushed: Seq,
    /// Every seq from here on can be read.
    pub floor: Seq,
    /// Below the floor only these can; rising.
    pub points: Vec<Seq>,
    /// Highest timestamp the server has given.
    pub highest_timestamp: Micros,
    /// Of the table, as the owner knew it.
    pub schema_version: SchemaVersion,
    /// A derived table's applied version as far as it is flushed.
    pub applied: Seq,
    /// The newest runs applied, with their versions, oldest first.
    pub applied_runs: Vec<(RunId, Seq)>,
    /// Staged rows of runs not yet published.
    pub staged: Vec<StagedRef>,
    /// Number of the next SSTable.
    pub next_sstable: u64,
    /// Live SSTables, in any order.
    pub sstables: Vec<SstableRef>,
}

impl Manifest {
    /// The manifest in its envelope: the content of the register `tablets/{id}/manifest`.
    ///
    /// # Errors
    /// `Internal` if it cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>> {
        envelope::encode(MANIFEST_MAGIC, MANIFEST_FORMAT, self)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// `Corrupt`, naming what does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = envelope::decode(MANIFEST_MAGIC, MANIFEST_FORMAT, bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether it has been open. If not, no log has anything of it.
    #[must_use]
    pub fn had_owner(&self) -> bool {
        self.log_epoch > Epoch(0)
    }

    /// All places where requests of this tablet are remembered.
    pub(crate) fn remembering(&self) -> Vec<LogPart> {
        let own = LogPart { log: self.log, tablet: self.tablet, epoch: self.log_epoch };
        self.requests_from.iter().copied().chain(self.had_owner().then_some(own)).collect()
    }

    /// The logs that must stay for it: that of what is not flushed, and those of requests.
    pub(crate) fn logs(&self) -> impl Iterator<Item = LogName> {
        self.requests_from.iter().map(|part| part.log).chain([self.log])
    }

    fn check(&self) -> Result<()> {
        let flushed = self.sstables.iter().all(|s| s.is_numbered_well() && s.seqs.1 <= self.flushed);
        let points = self.points.windows(2).all(|w| w[0] < w[1]) && self.points.last().is_none_or(|p| *p < self.floor);
        if points && flushed && self.floor <= self.flushed && self.applied <= self.flushed && self.log_epoch <= self.epoch {
            return Ok(());
        }
        Err(common::Error::corrupt(format!("manifest of tablet {}: its fields contradict each other", self.tablet)))
    }
}
