//! Conditional writes and read-modify-writes: evaluated on the row as all mutations numbered so far leave it, those in
//! flight included, and numbered at once.
//!
//! What SSTables hold of the row is read first, without a lock. Then, under the numbering lock, memtables and what is in
//! flight are laid over it. Meanwhile one memtable may have been frozen or flushed: it is still held; after a second one
//! the stored part is read again, and so it is after SSTables were ingested. So a row takes as many of them as the log takes at once, however long an append lasts.

use super::RequestId;
use super::commit::{Acknowledge, Numbered, Step};
use super::hot::may_show_older;
use super::inner::{Inner, State};
use super::memory::Reserved;
use super::queue::Effect;
use super::requests::{answered, conditional, mistaken};
use super::validate::check_row;
use crate::event_time::EventTimes;
use crate::format::{LogBody, Outcome, Remembered, StoredCell, StoredRow};
use crate::log::EncodedRecords;
use crate::memtable::Batch;
use crate::raw::{RawRow, Scan};
use crate::read::{Rules, View, stored, with_memory};
use crate::sync::lock;
use bytes::Bytes;
use common::conditional::{CellTest, CheckAndMutate, Checked, Modified, ReadModifyWrite};
use common::ids::Seq;
use common::key::KeyRange;
use common::row::{Cell, Columns, Committed, Mutation, ReadSpec, Row, RowMutation};
use common::schema::Table;
use common::time::{Micros, TimeRange};
use common::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One of both.
#[derive(Debug)]
enum Request {
    Check(CheckAndMutate),
    Modify(ReadModifyWrite),
}

/// What a request came to.
enum Decision {
    Number(Step),
    /// Nothing is written and nobody asks for it to be remembered: true once everything up to the seq is durable.
    Seen(Seq, Result<Remembered>),
}

/// Why a row must be read again.
enum Again {
    /// What was read lacks a memtable in between, or was cut, and may lack something.
    Stale,
    /// SSTables are being ingested, which can be read from this seq on.
    After(Seq),
}

impl Inner {
    pub(super) async fn check_and_mutate(self: &Arc<Self>, request: CheckAndMutate, id: Option<RequestId>) -> Result<Checked> {
        let r = self.conditional(&Request::Check(request), id).await?;
        let Outcome::Checked(matched) = r.outcome else { return Err(mistaken()) };
        let committed = (r.rows > 0).then_some(Committed { seq: r.first, timestamp: r.timestamp });
        Ok(Checked { matched, committed })
    }

    pub(super) async fn read_modify_write(self: &Arc<Self>, request: ReadModifyWrite, id: Option<RequestId>) -> Result<Modified> {
        let key = request.key.clone();
        let r = self.conditional(&Request::Modify(request), id).await?;
        let Outcome::Modified(cells) = &r.outcome else { return Err(mistaken()) };
        let cell = |c: &StoredCell| {
            let (family, qualifier, timestamp, value) = (c.family, c.qualifier.clone(), c.timestamp, c.value.clone());
            Cell { family, qualifier, timestamp, value }
        };
        let row = Row { key, cells: cells.iter().map(cell).collect() };
        Ok(Modified { row, committed: Committed { seq: r.first, timestamp: r.timestamp } })
    }

    async fn conditional(self: &Arc<Self>, request: &Request, id: Option<RequestId>) -> Result<Arc<Remembered>> {
        self.check_open()?;
        self.check_kind(false)?;
        if let Some(answer) = id.and_then(|id| lock(&self.numbering).requests.find(&id)) {
            return answered(answer).await;
        }
        request.check(&self.range, &self.table())?;
        let weight = request.weight();
        self.admit(weight).await?;
        let reserved = Reserved::new(&self.shared.memory, weight);
        let decision = self.decide(request, id, weight).await?;
        match decision {
            Decision::Number(Step::New(numbered)) => {
                reserved.keep();
                Acknowledge::new(self, numbered).done().await
            }
            Decision::Number(Step::Repeated(answer)) => {
                drop(reserved);
                answered(answer).await
            }
            Decision::Seen(upto, outcome) => {
                drop(reserved);
                self.wait_visible(upto).await?;
                outcome.map(Arc::new)
            }
        }
    }

    /// The last seq given.
    #[cfg(test)]
    pub(crate) fn numbered_for_tests(&self) -> Seq {
        Seq(lock(&self.numbering).next.0 - 1)
    }

    async fn decide(&self, request: &Request, id: Option<RequestId>, weight: usize) -> Result<Decision> {
        let times = EventTimes::of(&self.table(), &[], None);
        let time = times.as_ref().and_then(|times| times.time(request.key()));
        let scan = Scan { columns: request.columns(), ..Scan::all(Vec::new(), Seq::MAX) };
        let newest_alone = request.newest() == Some((1, TimeRange::ALL));
        let mut keep = newest_alone;
        loop {
            let held = self.state();
            let kept = if keep { self.hot.get(request.key(), &scan.columns, &held) } else { None };
            let cut = kept.is_some();
            let stored = match kept {
                Some(row) => row,
                None => stored(&held.sstables_at(time), request.key(), &scan).await?,
            };
            if newest_alone && !cut {
                self.hot.keep(request.key(), &scan.columns, &held, &stored);
            }
            match self.decide_on(request, &held, (stored, cut), &scan, (id, weight))? {
                Ok(decision) => return Ok(decision),
                Err(Again::Stale) => {}
                Err(Again::After(seq)) => self.wait_visible(seq).await?,
            }
            keep &= !cut;
        }
    }

    fn decide_on(
        &self,
        request: &Request,
        held: &State,
        stored: (RawRow, bool),
        scan: &Scan,
        (id, weight): (Option<RequestId>, usize),
    ) -> Result<std::result::Result<Decision, Again>> {
        let clock = &self.shared.config.clock;
        let (rules, now) = (self.rules(), clock.now());
        let mut numbering = lock(&self.numbering);
        self.check_open()?;
        numbering.check()?;
        if let Some(answer) = id.and_then(|id| numbering.requests.find(&id)) {
            return Ok(Ok(Decision::Number(Step::Repeated(answer))));
        }
        let row = match self.row_so_far(held, stored, request, scan) {
            Ok(row) => row,
            Err(again) => return Ok(Err(again)),
        };
        let last = Seq(numbering.next.0 - 1);
        let timestamp = numbering.timestamp(now);
        let (matched, row) = match request.evaluate(row, &rules, now, timestamp) {
            Ok(decided) => decided,
            Err(e) => return Ok(Ok(Decision::Seen(last, Err(e)))),
        };
        let seq = if row.is_some() { numbering.next } else { Seq::ZERO };
        let remembered = conditional(id.unwrap_or_default(), seq, timestamp, matched, row.as_ref());
        if row.is_none() && id.is_none() {
            return Ok(Ok(Decision::Seen(last, Ok(remembered))));
        }
        let record = self.record(seq, seq, LogBody::Conditional { request: id, timestamp, matched, row });
        let encoded = EncodedRecords::one(&record)?;
        let LogBody::Conditional { row, .. } = record.body else { return Err(Error::internal("a conditional write is none")) };
        let effect = match row {
            Some(row) => {
                numbering.next = seq.next();
                Effect::Write(Batch::at(seq, &[row]))
            }
            None => Effect::Note,
        };
        let (ticket, durable) = self.submit(&mut numbering, encoded, effect, weight);
        let answer = id.map(|id| numbering.requests.begin(id, clock.monotonic()));
        Ok(Ok(Decision::Number(Step::New(Numbered { ticket, durable, answer, remembered, bytes: weight }))))
    }

    /// The row as everything numbered leaves it; under the numbering lock.
    fn row_so_far(
        &self,
        held: &State,
        (mut stored, cut): (RawRow, bool),
        request: &Request,
        scan: &Scan,
    ) -> std::result::Result<RawRow, Again> {
        // Under the queue's lock nothing moves from it to the memtable.
        let mut queue = lock(&self.queue);
        if let Some(seq) = queue.ingesting() {
            return Err(Again::After(seq));
        }
        let state = self.state();
        let newer = match state.generation - held.generation {
            0 => None,
            1 => Some(&state.active),
            _ => return Err(Again::Stale),
        };
        let tables = held.memtables().chain(newer);
        queue.covers(request.key(), &mut stored.covers);
        let in_flight = queue.in_flight(request.key());
        let known = stored.deletes.len();
        let row = with_memory(stored, request.key(), tables, in_flight, scan, request.newest());
        if cut && may_show_older(&row.deletes[known..]) { Err(Again::Stale) } else { Ok(row) }
    }
}

impl Request {
    fn key(&self) -> &Bytes {
        match self {
            Self::Check(r) => &r.key,
            Self::Modify(r) => &r.key,
        }
    }

    /// Columns that it looks at.
    fn columns(&self) -> Columns {
        match self {
            Self::Check(r) => r.predicate.columns(),
            Self::Modify(r) => Columns::Some(r.rules.iter().map(|rule| (rule.family, Some(rule.qualifier.clone()))).collect()),
        }
    }

    /// How many of each column's newest cells it looks at; `None`: all.
    fn newest(&self) -> Option<(u32, TimeRange)> {
        match self {
            Self::Check(r) => {
                let tests = r.predicate.tests();
                let times = tests.first().map(|t| t.timestamps)?;
                let same = tests.iter().all(|t| t.timestamps == times && t.cells_per_column > 0);
                let most = tests.iter().map(|t| t.cells_per_column).max()?;
                same.then_some((most, times))
            }
            Self::Modify(_) => Some((1, TimeRange::ALL)),
        }
    }

    /// What it may write at most, for the budget.
    fn weight(&self) -> usize {
        match self {
            Self::Check(r) => {
                let weigh = |mutations: &Vec<Mutation>| StoredRow::weight_before(&r.key, mutations);
                weigh(&r.then).max(weigh(&r.otherwise))
            }
            // An append writes the old value too: what it weighs is known only later.
            Self::Modify(r) => r.rules.iter().map(|rule| 128 + r.key.len() + rule.qualifier.len()).sum(),
        }
    }

    /// Checks it against limits, range and schema.
    fn check(&self, range: &KeyRange, table: &Table) -> Result<()> {
        let of_row =
            |mutations: &[Mutation]| check_row(&RowMutation { key: self.key().clone(), mutations: mutations.to_vec() }, range, table);
        match self {
            Self::Check(r) => {
                r.predicate.check()?;
                if r.then.is_empty() && r.otherwise.is_empty() {
                    return Err(Error::invalid("a conditional write with no mutations provided for either case"));
                }
                [&r.then, &r.otherwise].into_iter().filter(|list| !list.is_empty()).try_for_each(|list| of_row(list))
            }
            Self::Modify(r) => {
                if r.rules.is_empty() {
                    return Err(Error::invalid("a read-modify-write without rules"));
                }
                let set = |rule: &common::conditional::ModifyRule| {
                    let (family, qualifier) = (rule.family, rule.qualifier.clone());
                    Mutation::Set { family, qualifier, timestamp: None, value: Bytes::new() }
                };
                of_row(&r.rules.iter().map(set).collect::<Vec<_>>())
            }
        }
    }

    /// Whether the predicate holds (of a conditional write), and what is written.
    fn evaluate(&self, row: RawRow, rules: &Rules, now: Micros, timestamp: Micros) -> Result<(Option<bool>, Option<StoredRow>)> {
        match self {
            Self::Check(r) => {
                let matched = r.predicate.holds(&mut |test| passes(test, &row, rules, now));
                let mutations = if matched { &r.then } else { &r.otherwise };
                let mutation = || RowMutation { key: r.key.clone(), mutations: mutations.clone() };
                Ok((Some(matched), (!mutations.is_empty()).then(|| StoredRow::reduce(mutation(), timestamp))))
            }
            Self::Modify(r) => modify(r, row, rules, now, timestamp).map(|row| (None, Some(row))),
        }
    }
}

fn passes(test: &CellTest, row: &RawRow, rules: &Rules, now: Micros) -> bool {
    // The row has columns of other tests too: those that are not wanted must be told apart.
    let (columns, timestamps, cells_per_column) = (test.columns.clone(), test.timestamps, test.cells_per_column);
    let spec = ReadSpec { columns, timestamps, cells_per_column, keep_empty_rows: true, ..ReadSpec::default() };
    let seen = View::new(rules.clone(), &spec, now).peek(row, Seq::MAX);
    seen.is_some_and(|row| row.cells.iter().any(|c| test.value.holds(&c.value)))
}

fn modify(r: &ReadModifyWrite, row: RawRow, rules: &Rules, now: Micros, timestamp: Micros) -> Result<StoredRow> {
    let given = r.timestamp.unwrap_or(timestamp);
    let view = View::new(rules.clone(), &ReadSpec::default(), now);
    let cells = view.resolve(row, Seq::MAX).map_or_else(Vec::new, |row| row.cells);
    let mut new: BTreeMap<(common::ids::FamilyId, &Bytes), (Micros, Bytes)> = BTreeMap::new();
    for rule in &r.rules {
        let place = (rule.family, &rule.qualifier);
        let old = cells.iter().find(|c| (c.family, &c.qualifier) == place);
        let newest = new.get(&place).map(|(_, value)| value).or(old.map(|c| &c.value));
        let value = rule
            .modify
            .apply(newest)
            .map_err(|e| e.context(format!("row {:?}, family {}, column {:?}", r.key, rule.family, rule.qualifier)))?;
        new.insert(place, (old.map_or(given, |c| c.timestamp.max(given)), value));
    }
    let cell = |((family, qualifier), (timestamp, value)): ((_, &Bytes), _)| {
        let (qualifier, kind) = (qualifier.clone(), crate::format::CellKind::Value);
        StoredCell { family, qualifier, timestamp, kind, value }
    };
    Ok(StoredRow { key: r.key.clone(), deletes: Vec::new(), cells: new.into_iter().map(cell).collect() })
}
