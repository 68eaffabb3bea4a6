//! What was appended to the log and has not yet taken effect, in log order.

use super::staging::Staged;
use crate::format::{SstableRef, StoredRow};
use crate::memtable::{Batch, Entry, Versions};
use crate::sstable::RangeDelete;
use bytes::Bytes;
use common::ids::{RunId, Seq};
use std::collections::{HashMap, VecDeque, hash_map};

/// What a durable append does.
#[derive(Debug)]
pub(super) enum Effect {
    Write(Batch),
    Stage {
        run: RunId,
        part: u32,
        rows: Vec<StoredRow>,
    },
    Apply {
        versions: Vec<(Vec<RunId>, Seq)>,
    },
    Drop {
        run: RunId,
    },
    /// SSTables that were written before; they have the seq.
    Ingest {
        seq: Seq,
        files: Vec<SstableRef>,
    },
    /// A row-range delete.
    DeleteRange(RangeDelete),
    /// Nothing but being remembered.
    Note,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) ticket: u64,
    /// The log holds it in this segment or a later one.
    pub(super) log_from: u64,
    pub(super) effect: Effect,
    /// Bytes taken from the budget (memtables for a write, staged rows for a stage).
    pub(super) reserved: usize,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Queue {
    next_ticket: u64,
    pending: VecDeque<Pending>,
    /// The rows of `pending` by key. Made when a conditional write asks for it, gone once nothing is pending: other writes do
    /// not pay for it.
    by_key: Option<HashMap<Bytes, Versions>>,
    /// How many of `pending` are row-range deletes.
    ranges: usize,
    /// How many are ingests.
    ingests: usize,
    pub(super) staged: Staged,
    /// Bytes of `staged` in the budget.
    pub(super) staged_bytes: usize,
}

impl Queue {
    pub(super) fn new(staged: Staged, staged_bytes: usize) -> Self {
        Self { next_ticket: 0, pending: VecDeque::new(), by_key: None, ranges: 0, ingests: 0, staged, staged_bytes }
    }

    /// Bytes of staged rows in the budget.
    pub(super) fn staged_weight(&self) -> usize {
        self.staged_bytes
    }

    pub(super) fn push(&mut self, log_from: u64, effect: Effect, reserved: usize) -> u64 {
        self.next_ticket += 1;
        if let (Some(index), Effect::Write(batch)) = (&mut self.by_key, &effect) {
            batch.entries.iter().for_each(|entry| add(index, entry));
        }
        self.ranges += usize::from(matches!(effect, Effect::DeleteRange(_)));
        self.ingests += usize::from(matches!(effect, Effect::Ingest { .. }));
        self.pending.push_back(Pending { ticket: self.next_ticket, log_from, effect, reserved });
        self.next_ticket
    }

    /// The oldest append up to `ticket` that has not taken effect. The log is durable in order: all of them are.
    pub(super) fn pop_up_to(&mut self, ticket: u64) -> Option<Pending> {
        let popped = self.pending.pop_front_if(|p| p.ticket <= ticket)?;
        if self.pending.is_empty() {
            self.by_key = None;
        }
        self.ranges -= usize::from(matches!(popped.effect, Effect::DeleteRange(_)));
        self.ingests -= usize::from(matches!(popped.effect, Effect::Ingest { .. }));
        if let (Some(index), Effect::Write(batch)) = (&mut self.by_key, &popped.effect) {
            batch.entries.iter().for_each(|entry| remove(index, entry));
        }
        Some(popped)
    }

    /// Adds the seqs of the row-range deletes in flight that cover the key.
    pub(super) fn covers(&self, key: &[u8], out: &mut Vec<Seq>) {
        if self.ranges > 0 {
            out.extend(self.pending.iter().filter_map(|p| match &p.effect {
                Effect::DeleteRange(delete) => delete.covers(key, Seq::MAX).then_some(delete.seq),
                _ => None,
            }));
        }
    }

    /// The seq of the last ingest in flight: what it brings can be read only once it has taken effect.
    pub(super) fn ingesting(&self) -> Option<Seq> {
        let seq = |p: &Pending| if let Effect::Ingest { seq, .. } = p.effect { Some(seq) } else { None };
        if self.ingests == 0 { None } else { self.pending.iter().rev().find_map(seq) }
    }

    /// What is in flight of a row.
    pub(super) fn in_flight(&mut self, key: &[u8]) -> Option<&Versions> {
        let pending = &self.pending;
        let index = self.by_key.get_or_insert_with(|| {
            let mut index = HashMap::new();
            for Pending { effect, .. } in pending {
                if let Effect::Write(batch) = effect {
                    batch.entries.iter().for_each(|entry| add(&mut index, entry));
                }
            }
            index
        });
        index.get(key)
    }

    /// The ticket that was given last.
    pub(super) fn last_ticket(&self) -> u64 {
        self.next_ticket
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether an apply of this run is on its way.
    pub(super) fn is_applying(&self, run: RunId) -> bool {
        self.pending.iter().any(|p| match &p.effect {
            Effect::Apply { versions } => versions.iter().any(|(runs, _)| runs.contains(&run)),
            _ => false,
        })
    }

    /// The first log segment that something in here needs; `u64::MAX` if nothing does.
    pub(super) fn log_from(&self) -> u64 {
        self.pending.iter().map(|p| p.log_from).min().unwrap_or(u64::MAX).min(self.staged.log_from())
    }
}

fn add(index: &mut HashMap<Bytes, Versions>, entry: &Entry) {
    match index.entry(entry.key_bytes()) {
        hash_map::Entry::Vacant(place) => {
            place.insert(Versions::One(entry.clone()));
        }
        hash_map::Entry::Occupied(place) => place.into_mut().push(entry.clone()),
    }
}

fn remove(index: &mut HashMap<Bytes, Versions>, entry: &Entry) {
    let key = entry.row().key();
    if index.get_mut(key).is_some_and(|versions| versions.remove(entry)) {
        index.remove(key);
    }
}
