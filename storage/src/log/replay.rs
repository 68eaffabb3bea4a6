//! Reading a log back: whole, checked, by tablet.

use super::group::{GroupHeader, HEADER_BYTES, check_segment_header, later_group_in};
use super::segments;
use crate::format::{LogName, LogRecord, names};
use common::ids::TabletId;
use common::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Records of each tablet in log order, each with its segment.
pub(crate) type TabletRecords = HashMap<TabletId, Vec<(u64, LogRecord)>>;

/// The records of a log that `wanted` takes, and the log's oldest segment (0: it has none).
///
/// A torn tail of the newest segment is cut: it was never acknowledged. All other damage is an error.
///
/// # Errors
/// `NotFound` if there is no such log, `Corrupt` naming file and offset, `Unavailable`.
pub(crate) fn read_log(log_dir: &Path, log: LogName, wanted: impl Fn(&LogRecord) -> bool) -> Result<(u64, TabletRecords)> {
    let folder = names::log_folder(log_dir, log);
    let numbers =
        segments::numbers(&folder)?.ok_or_else(|| Error::not_found(format!("log folder '{}' does not exist", folder.display())))?;
    let mut records = TabletRecords::new();
    for number in &numbers {
        let path = folder.join(names::segment(*number));
        let bytes = std::fs::read(&path).map_err(|e| Error::unavailable(format!("cannot read '{}': {e}", path.display())))?;
        let segment = Segment { bytes: &bytes, log, number: *number, newest: Some(number) == numbers.last() };
        let found =
            segment.records().map_err(|(at, why)| Error::corrupt(format!("log segment '{}' at offset {at}: {why}", path.display())))?;
        for record in found.into_iter().filter(&wanted) {
            records.entry(record.tablet).or_default().push((*number, record));
        }
    }
    Ok((numbers.first().copied().unwrap_or_default(), records))
}

struct Segment<'a> {
    bytes: &'a [u8],
    log: LogName,
    number: u64,
    newest: bool,
}

/// Where, and what is wrong there.
type Damage = (usize, String);

impl Segment<'_> {
    fn records(&self) -> Result<Vec<LogRecord>, Damage> {
        let mut at = match check_segment_header(self.bytes, self.log, self.number) {
            Ok(length) => length,
            Err(e) => return self.torn(0, 0, 0, &e.message).map(|()| Vec::new()),
        };
        let mut records = Vec::new();
        for number in 1.. {
            match self.group(at, number, &mut records)? {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok(records)
    }

    /// Reads the group at `at`; the offset of the next, `None` at the end.
    fn group(&self, at: usize, number: u64, records: &mut Vec<LogRecord>) -> Result<Option<usize>, Damage> {
        let rest = &self.bytes[at..];
        let Some(header) = GroupHeader::decode(rest) else {
            return self.torn(at, at, number, "no group header").map(|()| None);
        };
        if header.number != number {
            return Err((at, format!("group {} where group {number} is due", header.number)));
        }
        let end = HEADER_BYTES.saturating_add(header.length as usize);
        let Some(body) = rest.get(HEADER_BYTES..end) else {
            return self.torn(at, self.bytes.len(), number, "the group is cut short").map(|()| None);
        };
        if crc32c::crc32c(body) != header.crc {
            return self.torn(at, at + end, number, "checksum mismatch").map(|()| None);
        }
        if header.is_end() {
            return if rest.len() == end { Ok(None) } else { Err((at + end, "bytes after the end of the segment".into())) };
        }
        decode_records(body, header.count, records).map_err(|(inner, why)| (at + HEADER_BYTES + inner, why))?;
        Ok(Some(at + end))
    }

    /// Damage at `at` is a torn tail if this is the newest segment and no later group begins at or after `from`.
    fn torn(&self, at: usize, from: usize, number: u64, why: &str) -> Result<(), Damage> {
        if self.newest && !later_group_in(&self.bytes[from..], number) { Ok(()) } else { Err((at, why.to_owned())) }
    }
}

fn decode_records(body: &[u8], count: u32, records: &mut Vec<LogRecord>) -> Result<(), Damage> {
    let mut at = 0;
    for _ in 0..count {
        let (record, length) = LogRecord::decode(&body[at..]).map_err(|e| (at, e.message))?;
        records.push(record);
        at += length;
    }
    if at == body.len() { Ok(()) } else { Err((at, "bytes after the last record of the group".into())) }
}
