//! A segment without an end: its groups are read one after the other, until the first that is not whole.

use super::group::{GroupHeader, HEADER_BYTES, check_segment_header, later_group_in};
use super::index::Index;
use super::reader::damaged;
use crate::format::{LogName, LogRecord};
use bytes::Bytes;
use common::store::{SharedStore, failed};
use common::{Error, Result};
use object_store::ObjectStoreExt;
use object_store::path::Path;

/// Bytes that are read at once, unless a group is larger.
const READ_BYTES: u64 = 4 << 20;
/// A segment's header is shorter.
const SEGMENT_HEADER_BYTES: u64 = 256;

/// Where, and what is wrong there.
type Damage = (u64, String);

/// What the whole groups of a file of `size` bytes hold. Damage that no later group follows is a torn tail: it was never
/// acknowledged, and is cut.
///
/// # Errors
/// `Corrupt`, naming file and offset, `Unavailable`.
pub(super) async fn scan(store: &SharedStore, path: &Path, size: u64, segment: (LogName, u64)) -> Result<Index> {
    let mut file = Window { store, path, size, at: 0, bytes: Bytes::new() };
    let head = file.read(0, SEGMENT_HEADER_BYTES).await?;
    let mut at = match check_segment_header(&head, segment.0, segment.1) {
        Ok(length) => length as u64,
        Err(e) => {
            file.torn(0, 0, 0, &e.message).await?;
            return Ok(Index::default());
        }
    };
    let mut index = Index::default();
    for number in 1.. {
        match group(&mut file, at, number, &mut index).await? {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(index)
}

/// Reads the group at `at`; the offset of the next, `None` at the end.
async fn group(file: &mut Window<'_>, at: u64, number: u64, index: &mut Index) -> Result<Option<u64>> {
    let start = file.read(at, HEADER_BYTES as u64).await?;
    let Some(header) = GroupHeader::decode(&start) else {
        return file.torn(at, at, number, "no group header").await;
    };
    if header.number != number {
        return Err(damaged(file.path, at, &format!("group {} where group {number} is due", header.number)));
    }
    let (body_at, length) = (at + HEADER_BYTES as u64, u64::from(header.length));
    if body_at + length > file.size {
        return file.torn(at, body_at, number, "the group is cut short").await;
    }
    let body = file.read(body_at, length).await?;
    if crc32c::crc32c(&body) != header.crc {
        return file.torn(at, body_at + length, number, "checksum mismatch").await;
    }
    if header.is_end() {
        // Without a footer behind it, else nobody scans: the last write was torn, and says nothing new.
        return file.torn(at, body_at + length, number, "the end of the segment has no footer").await;
    }
    note_records(&body, body_at, header.count, index).map_err(|(at, why)| damaged(file.path, at, &why))?;
    Ok(Some(body_at + length))
}

fn note_records(body: &[u8], body_at: u64, count: u32, index: &mut Index) -> Result<(), Damage> {
    let mut at = 0;
    for _ in 0..count {
        let (part, length) = LogRecord::peek(&body[at..]).map_err(|e| (body_at + at as u64, e.message))?;
        let start = body_at + at as u64;
        index.add(part, start..start + length as u64);
        at += length;
    }
    if at == body.len() { Ok(()) } else { Err((body_at + at as u64, "bytes after the last record of the group".into())) }
}

/// A file that is read forward.
struct Window<'a> {
    store: &'a SharedStore,
    path: &'a Path,
    size: u64,
    /// Where `bytes` lies.
    at: u64,
    bytes: Bytes,
}

impl Window<'_> {
    /// `length` bytes at `at`, fewer at the file's end.
    async fn read(&mut self, at: u64, length: u64) -> Result<Bytes> {
        let end = at.saturating_add(length).min(self.size);
        if at >= end {
            return Ok(Bytes::new());
        }
        if at < self.at || end > self.at + self.bytes.len() as u64 {
            let ahead = end.max((at + READ_BYTES).min(self.size));
            self.bytes = self.store.get_range(self.path, at..ahead).await.map_err(|e| failed("read", self.path, &e))?;
            self.at = at;
        }
        let (from, to) = ((at - self.at) as usize, (end - self.at) as usize);
        let read = self.bytes.get(from..to).ok_or_else(|| Error::unavailable(format!("'{}' has become shorter", self.path)))?;
        Ok(self.bytes.slice_ref(read))
    }

    /// Damage at `at` is a torn tail if no group later than `number` begins at or after `from`.
    async fn torn(&mut self, at: u64, from: u64, number: u64, why: &str) -> Result<Option<u64>> {
        let mut from = from;
        while from < self.size {
            // Overlapping, so that a header across two reads is seen.
            let bytes = self.read(from, READ_BYTES + HEADER_BYTES as u64).await?;
            if later_group_in(&bytes, number) {
                return Err(damaged(self.path, at, why));
            }
            from += READ_BYTES;
        }
        Ok(None)
    }
}
