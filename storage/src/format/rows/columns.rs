//! The columns of some rows, each once.

use super::Column;
use crate::codec::{Damaged, Result, Walk, put_bytes, put_u64};
use crate::sync::lock;
use bytes::Bytes;
use common::ids::FamilyId;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Columns above which they are looked for in a map.
const FEW: usize = 16;
/// Columns above which a batch does not begin with those of the one before.
const MOST: usize = 256;
/// How far ahead of the expected column is looked: rows of one table mostly repeat their columns, and leave some out.
const AHEAD: usize = 4;

/// Family and stored qualifier of each, in the order of their first cells.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    encoded: Bytes,
    list: Vec<Column>,
    /// That of all of them, if it is one.
    family: Option<FamilyId>,
}

impl Columns {
    fn new(encoded: Bytes, list: Vec<Column>) -> Self {
        let family = list.first().map(|(family, _)| *family).filter(|f| list.iter().all(|(family, _)| family == f));
        Self { encoded, list, family }
    }

    pub(super) fn decode(encoded: Bytes) -> Result<Self> {
        let (mut list, mut walk) = (Vec::new(), Walk::new(&encoded));
        while !walk.is_done() {
            let family = FamilyId(walk.u32()?);
            list.push((family, encoded.slice_ref(walk.slice()?)));
        }
        Ok(Self::new(encoded, list))
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.encoded.len() + size_of::<Column>() * self.list.len()
    }

    pub(super) fn family(&self) -> Option<FamilyId> {
        self.family
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, n: usize) -> Option<&Column> {
        self.list.get(n)
    }
}

impl PartialEq for Columns {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

/// The columns of the last batch: those of the next are mostly the same.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// Held for a comparison.
    last: Mutex<Arc<Columns>>,
}

impl Shapes {
    /// The columns that the next batch may begin with.
    pub(super) fn last(&self) -> Arc<Columns> {
        lock(&self.last).clone()
    }

    /// Notes the columns of a batch, of which it has used so many.
    pub(super) fn note(&self, columns: &Arc<Columns>, used: usize) {
        // What most rows do not have should not be listed for each batch.
        let next = if columns.len() <= MOST && used * 2 >= columns.len() { columns.clone() } else { Arc::default() };
        *lock(&self.last) = next;
    }

    /// Replaces `columns` by the same of an earlier batch; else they are the next one's model. True if they were replaced.
    pub(super) fn share(&self, columns: &mut Arc<Columns>) -> bool {
        let mut last = lock(&self.last);
        let same = *last == *columns;
        if same {
            *columns = last.clone();
        } else {
            *last = columns.clone();
        }
        same
    }
}

/// Numbers columns as they come.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    encoded: Vec<u8>,
    list: Vec<(FamilyId, Range<usize>)>,
    /// By family and qualifier, once they are more than a few.
    known: HashMap<Vec<u8>, usize, foldhash::fast::RandomState>,
    scratch: Vec<u8>,
    /// The one behind that of the cell before.
    next: usize,
    /// Those that it began with.
    model: Arc<Columns>,
    /// Which columns some cell had.
    used: Vec<bool>,
}

impl Numbering {
    /// Begins with the columns of other rows, so that they are likely to be the same.
    pub(super) fn begin_with(model: Arc<Columns>) -> Self {
        let mut at = 0;
        let place = |(family, qualifier): &Column| {
            at += name(*family, qualifier).len();
            (*family, at - qualifier.len()..at)
        };
        let list = model.list.iter().map(place).collect();
        Self { encoded: model.encoded.to_vec(), list, used: vec![false; model.len()], model, ..Self::default() }
    }

    pub(super) fn begin_row(&mut self) {
        self.next = 0;
    }

    /// The number of a column, a new one if it has none.
    pub(super) fn of(&mut self, family: FamilyId, qualifier: &[u8]) -> usize {
        let ahead = self.next..(self.next + AHEAD).min(self.list.len());
        let n = match ahead.into_iter().find(|n| self.is(*n, family, qualifier)) {
            Some(n) => n,
            None => self.find(family, qualifier).unwrap_or_else(|| self.add(family, qualifier)),
        };
        self.next = n + 1;
        self.used[n] = true;
        n
    }

    fn is(&self, n: usize, family: FamilyId, qualifier: &[u8]) -> bool {
        let (f, place) = &self.list[n];
        *f == family && self.encoded[place.clone()] == *qualifier
    }

    fn find(&mut self, family: FamilyId, qualifier: &[u8]) -> Option<usize> {
        if self.list.len() <= FEW {
            return (0..self.list.len()).find(|n| self.is(*n, family, qualifier));
        }
        if self.known.is_empty() {
            let names = self.list.iter().map(|(family, place)| name(*family, &self.encoded[place.clone()]));
            self.known = names.zip(0..).collect();
        }
        self.scratch.clear();
        put_name(&mut self.scratch, family, qualifier);
        self.known.get(&self.scratch).copied()
    }

    fn add(&mut self, family: FamilyId, qualifier: &[u8]) -> usize {
        put_name(&mut self.encoded, family, qualifier);
        let end = self.encoded.len();
        self.list.push((family, end - qualifier.len()..end));
        self.used.push(true);
        let n = self.list.len() - 1;
        if !self.known.is_empty() {
            self.known.insert(name(family, qualifier), n);
        }
        n
    }

    /// The columns, and whether they are the ones that it began with.
    pub(super) fn finish(self) -> (Arc<Columns>, bool) {
        if self.list.len() == self.model.len() {
            return (self.model, true);
        }
        let encoded = Bytes::from(self.encoded);
        let list = self.list.into_iter().map(|(family, place)| (family, encoded.slice(place))).collect();
        (Arc::new(Columns::new(encoded, list)), false)
    }

    /// How many columns some cell had.
    pub(super) fn used(&self) -> usize {
        self.used.iter().filter(|used| **used).count()
    }
}

fn put_name(out: &mut Vec<u8>, family: FamilyId, qualifier: &[u8]) {
    put_u64(out, u64::from(family.0));
    put_bytes(out, qualifier);
}

fn name(family: FamilyId, qualifier: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(qualifier.len() + 8);
    put_name(&mut name, family, qualifier);
    name
}

/// What a cell of a column that is not listed is.
pub(super) const UNLISTED: Damaged = Damaged("a column that is not listed");
