//! Row-range deletes: one record, whatever the number of rows.

use super::RequestId;
use super::commit::{Acknowledge, Numbered, Step};
use super::inner::Inner;
use super::memory::Reserved;
use super::queue::Effect;
use super::requests::{answered, results};
use crate::format::{LogBody, Outcome, Remembered};
use crate::log::EncodedRecords;
use crate::sstable::RangeDelete;
use crate::sync::lock;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::Committed;
use common::time::Micros;
use common::{Error, Result, limits};
use std::sync::Arc;

impl Inner {
    pub(super) async fn delete_range(self: &Arc<Self>, range: KeyRange, request: Option<RequestId>) -> Result<Committed> {
        self.check_open()?;
        self.check_kind(false)?;
        if let Some(answer) = request.and_then(|id| lock(&self.numbering).requests.find(&id)) {
            return only(results(&*answered(answer).await?)?);
        }
        self.check_range(&range)?;
        let weight = RangeDelete::weight(&range);
        self.admit(weight).await?;
        let reserved = Reserved::new(&self.shared.memory, weight);
        match self.number_range(range, request, weight)? {
            Step::New(numbered) => {
                reserved.keep();
                only(results(&*Acknowledge::new(self, numbered).done().await?)?)
            }
            Step::Repeated(answer) => only(results(&*answered(answer).await?)?),
        }
    }

    fn check_range(&self, range: &KeyRange) -> Result<()> {
        let table = self.table();
        if table.spec.append_only {
            return Err(Error::refused(format!("table '{}' is append-only: it takes no deletes", table.name)));
        }
        if range.is_empty() {
            return Err(Error::invalid(format!("a delete of an empty row range: {range:?}")));
        }
        let longest = range.start.len().max(range.end.as_ref().map_or(0, |end| end.len()));
        // The end of a single row's range is its key and a zero.
        if longest > limits::MAX_KEY_BYTES + 1 {
            return Err(Error::invalid(format!(
                "a row range with a key of {longest} bytes; at most {} are allowed",
                limits::MAX_KEY_BYTES
            )));
        }
        if !self.range.covers(range) {
            return Err(Error::not_mine(format!("row range {range:?} does not lie in the tablet: refresh the tablet map")));
        }
        Ok(())
    }

    fn number_range(&self, range: KeyRange, request: Option<RequestId>, weight: usize) -> Result<Step> {
        let clock = &self.shared.config.clock;
        let mut numbering = lock(&self.numbering);
        self.check_open()?;
        numbering.check()?;
        if let Some(answer) = request.and_then(|id| numbering.requests.find(&id)) {
            return Ok(Step::Repeated(answer));
        }
        let timestamp = numbering.timestamp(clock.now());
        let seq = numbering.next;
        let record = self.record(seq, seq, LogBody::DeleteRange { request, timestamp, range: range.clone() });
        let encoded = EncodedRecords::one(&record)?;
        numbering.next = seq.next();
        let (ticket, durable) = self.submit(&mut numbering, encoded, Effect::DeleteRange(RangeDelete { range, seq }), weight);
        let answer = request.map(|id| numbering.requests.begin(id, clock.monotonic()));
        let remembered = remembered(request.unwrap_or_default(), seq, timestamp);
        Ok(Step::New(Numbered { ticket, durable, answer, remembered, bytes: weight }))
    }
}

/// What a repetition is answered from.
pub(super) fn remembered(request: RequestId, seq: Seq, timestamp: Micros) -> Remembered {
    Remembered { request, first: seq, rows: 1, timestamp, refused: Vec::new(), outcome: Outcome::Written }
}

pub(super) fn only(results: Vec<Result<Committed>>) -> Result<Committed> {
    let lost = || Error::invalid("this request id was used for another request");
    match <[_; 1]>::try_from(results) {
        Ok([result]) => result,
        Err(_) => Err(lost()),
    }
}
