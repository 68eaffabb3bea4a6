//! One segment or object of a log as it is, for people: every checksum verified, nothing cut, nothing presumed about its
//! neighbours.

use super::group::{GroupHeader, HEADER_BYTES, later_group_in, read_segment_header};
use super::index::{FOOTER_BYTES, Index, find_index};
use super::object::{ObjectHeader, ObjectKind};
use crate::format::{LogName, LogRecord};
use common::{Error, Result};

/// What a log segment holds: a file of a disk's log, or an object of a log in an object store.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSegment {
    /// Of which log.
    pub log: LogName,
    /// Which segment of it, from 1.
    pub number: u64,
    /// How it is kept.
    pub kind: LogSegmentKind,
    /// Its group commits in order.
    pub groups: Vec<LogGroup>,
    /// Whether it is complete. A segment on a disk is if it has a successor or the log was closed cleanly, an object always.
    pub ended: bool,
    /// Where whole groups end and a torn one begins, and what is wrong with that. In a log's newest segment it was never
    /// acknowledged and recovery cuts it; in any other it is damage. An object has none.
    pub torn: Option<(u64, String)>,
}

/// How a segment of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSegmentKind {
    /// A file of many group commits.
    File,
    /// An object of one group commit.
    Object {
        /// Names its put.
        nonce: u128,
    },
    /// The object that ends a log.
    Fence {
        /// Names its put.
        nonce: u128,
    },
}

/// A group commit.
#[derive(Clone, Debug, PartialEq)]
pub struct LogGroup {
    /// Where it begins in the segment.
    pub offset: u64,
    /// Bytes, its header included.
    pub length: u64,
    /// Its records.
    pub records: Vec<LogRecord>,
}

enum Next {
    Group(LogGroup),
    End,
    Torn(&'static str),
}

impl LogSegment {
    /// Reads and verifies a whole segment or object, its index by tablet included.
    ///
    /// # Errors
    /// `Corrupt` with the offset of what is damaged, unless a torn tail explains it.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if ObjectHeader::begins(bytes) { Self::read_object(bytes) } else { Self::read_file(bytes) }
    }

    fn read_file(bytes: &[u8]) -> Result<Self> {
        let (log, number, mut at) = read_segment_header(bytes).map_err(|e| e.context("at offset 0"))?;
        let mut segment = Self { log, number, kind: LogSegmentKind::File, groups: Vec::new(), ended: false, torn: None };
        let mut index = Index::default();
        while at < bytes.len() && !segment.ended && segment.torn.is_none() {
            match next(bytes, at, &segment, &mut index)? {
                Next::Group(group) => {
                    at += group.length as usize;
                    segment.groups.push(group);
                }
                Next::End => segment.ended = true,
                Next::Torn(why) => segment.torn = Some((at as u64, why.to_owned())),
            }
        }
        Ok(segment)
    }

    fn read_object(bytes: &[u8]) -> Result<Self> {
        let (header, at) = ObjectHeader::read(bytes).map_err(|e| e.context("at offset 0"))?;
        let ObjectHeader { log, number, nonce, kind } = header;
        let segment = |kind, groups| Self { log, number, kind, groups, ended: true, torn: None };
        if kind == ObjectKind::Fence {
            let whole = bytes.len() == at;
            return if whole { Ok(segment(LogSegmentKind::Fence { nonce }, Vec::new())) } else { Err(damaged(at, "bytes after a fence")) };
        }
        let footer_at = bytes.len().saturating_sub(FOOTER_BYTES).max(at);
        let place = find_index(bytes, bytes.len() as u64).filter(|place| place.start >= at as u64);
        let place = place.ok_or_else(|| damaged(footer_at, "the object has no whole footer"))?;
        let end = place.start as usize;
        let mut index = Index::default();
        let records = records(&bytes[at..end], None, at, &mut index)?;
        check_index(&bytes[end..place.end as usize], (log, number), end, &index)?;
        let groups = if records.is_empty() { Vec::new() } else { vec![LogGroup { offset: at as u64, length: (end - at) as u64, records }] };
        Ok(segment(LogSegmentKind::Object { nonce }, groups))
    }
}

fn damaged(at: usize, why: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("at offset {at}: {why}"))
}

/// The group at `at`, the next one of `segment`.
fn next(bytes: &[u8], at: usize, segment: &LogSegment, index: &mut Index) -> Result<Next> {
    let (rest, number) = (&bytes[at..], segment.groups.len() as u64 + 1);
    let torn = |from: usize, why: &'static str| {
        let behind = rest.get(from..).unwrap_or_default();
        if later_group_in(behind, number) { Err(damaged(at, why)) } else { Ok(Next::Torn(why)) }
    };
    let Some(header) = GroupHeader::decode(rest) else { return torn(0, "no group header") };
    if header.number != number {
        return Err(damaged(at, format!("group {} where group {number} is due", header.number)));
    }
    let end = HEADER_BYTES.saturating_add(header.length as usize);
    let Some(body) = rest.get(HEADER_BYTES..end) else { return torn(rest.len(), "the group is cut short") };
    if crc32c::crc32c(body) != header.crc {
        return torn(end, "the group's checksum does not match");
    }
    if !header.is_end() {
        let records = records(body, Some(header.count), at + HEADER_BYTES, index)?;
        return Ok(Next::Group(LogGroup { offset: at as u64, length: end as u64, records }));
    }
    let body_at = (at + HEADER_BYTES) as u64;
    if find_index(bytes, bytes.len() as u64) != Some(body_at..body_at + body.len() as u64) {
        return torn(end, "the end of the segment has no whole footer");
    }
    check_index(body, (segment.log, segment.number), at + HEADER_BYTES, index)?;
    Ok(Next::End)
}

/// Reads the records in `body`, which lies at `offset`: so many, if that is known.
fn records(body: &[u8], count: Option<u32>, offset: usize, index: &mut Index) -> Result<Vec<LogRecord>> {
    let (mut records, mut at) = (Vec::new(), 0);
    while at < body.len() && count.is_none_or(|count| records.len() < count as usize) {
        let (record, length) = LogRecord::decode(&body[at..]).map_err(|e| e.context(format!("at offset {}", offset + at)))?;
        let start = (offset + at) as u64;
        index.add((record.tablet, record.epoch), start..start + length as u64);
        records.push(record);
        at += length;
    }
    match count {
        Some(count) if records.len() < count as usize => Err(damaged(offset + at, "fewer records than the group says")),
        _ if at < body.len() => Err(damaged(offset + at, "bytes after the last record of the group")),
        _ => Ok(records),
    }
}

/// Checks that the stored index says what was found.
fn check_index(stored: &[u8], (log, number): (LogName, u64), at: usize, found: &Index) -> Result<()> {
    let stored = Index::decode(stored, log, number, at as u64).map_err(|e| e.context(format!("at offset {at}")))?;
    if stored == *found { Ok(()) } else { Err(damaged(at, "the index does not say where the records lie")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::LogBody;
    use crate::log::{EncodedRecords, segment_for_tests};
    use common::ErrorKind;
    use common::ids::{Epoch, Incarnation, Seq, ServerId, TabletId};

    const OBJECT: &[u8] = include_bytes!("../../testdata/log-object-v1");
    const FENCE: &[u8] = include_bytes!("../../testdata/log-fence-v1");

    fn record(seq: u64) -> LogRecord {
        LogRecord { tablet: TabletId(4), epoch: Epoch(1), first: Seq(seq), last: Seq(seq), body: LogBody::ClosedTablet }
    }

    fn segment() -> Vec<u8> {
        let mut records = EncodedRecords::default();
        (1..=3).for_each(|seq| records.push(&record(seq)).unwrap());
        segment_for_tests(LogName { server: ServerId(2), incarnation: Incarnation(5) }, 7, records)
    }

    #[test]
    fn a_segment_says_what_it_holds() {
        let bytes = segment();
        let found = LogSegment::read(&bytes).unwrap();
        assert_eq!((found.log.server, found.number, found.ended, &found.torn), (ServerId(2), 7, true, &None));
        assert_eq!(found.groups.len(), 1);
        assert_eq!(found.groups[0].records, [record(1), record(2), record(3)]);
    }

    #[test]
    fn every_cut_is_a_torn_tail_and_every_flipped_bit_is_noticed() {
        let bytes = segment();
        let first = LogSegment::read(&bytes).unwrap().groups[0].offset as usize;
        for cut in first + 1..bytes.len() {
            let found = LogSegment::read(&bytes[..cut]).unwrap();
            let whole = found.groups.iter().map(|g| g.offset + g.length).max().unwrap_or(first as u64);
            assert_eq!(found.torn.map_or(whole, |(at, _)| at), whole, "cut at {cut}");
            assert!(!found.ended);
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match LogSegment::read(&damaged) {
                Ok(found) => assert!(found.torn.is_some(), "bit {bit}"),
                Err(e) => assert!(e.message.contains("at offset"), "{e}"),
            }
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_of_an_object_is_damage() {
        for bytes in [OBJECT, FENCE] {
            LogSegment::read(bytes).unwrap();
            for cut in 0..bytes.len() {
                assert_eq!(LogSegment::read(&bytes[..cut]).unwrap_err().kind, ErrorKind::Corrupt, "cut at {cut}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let e = LogSegment::read(&damaged).unwrap_err();
                assert!(e.message.contains("at offset"), "bit {bit}: {e}");
            }
        }
    }

    #[test]
    fn an_object_says_whose_put_it_was() {
        let (records, fence) = (LogSegment::read(OBJECT).unwrap(), LogSegment::read(FENCE).unwrap());
        assert!(matches!(records.kind, LogSegmentKind::Object { .. }) && matches!(fence.kind, LogSegmentKind::Fence { .. }));
        assert!(records.groups.len() == 1 && !records.groups[0].records.is_empty() && fence.groups.is_empty());
        assert_eq!(records.log, fence.log);
    }

    #[test]
    fn an_index_that_says_something_else_is_damage() {
        let LogSegment { log, number, .. } = LogSegment::read(OBJECT).unwrap();
        let place = find_index(OBJECT, OBJECT.len() as u64).unwrap();
        let (at, encoded) = (place.start as usize, Index::default().encode(log, number).unwrap());
        let footer = crate::log::index::footer(place.start, encoded.len()).unwrap();
        let e = LogSegment::read(&[&OBJECT[..at], &encoded, &footer].concat()).unwrap_err();
        assert!(e.message.contains(&format!("at offset {at}")), "{e}");
    }
}
