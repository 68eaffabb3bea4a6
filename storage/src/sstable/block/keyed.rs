//! A block: sorted keys, each with a body. Keys are prefix-compressed, every 16th is whole.
//!
//! ```text
//! base seq, base timestamp             what seqs and timestamps inside are relative to
//! entries: shared, length, key suffix, length, body
//! restarts: u32 LE each, then their number u32 LE
//! ```

use crate::codec::{Damaged, Input, Result, put_bytes, put_i64, put_u64};
use bytes::Bytes;
use common::ids::Seq;
use common::time::Micros;

const RESTART_INTERVAL: usize = 16;

/// What seqs and timestamps of a block are relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sstable) struct Base {
    pub(in crate::sstable) seq: Seq,
    pub(in crate::sstable) timestamp: Micros,
}

#[derive(Debug, Default)]
pub(in crate::sstable) struct BlockBuilder {
    out: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(in crate::sstable) fn begin(&mut self, base: Base) {
        put_u64(&mut self.out, base.seq.0);
        put_i64(&mut self.out, base.timestamp.0);
    }

    pub(in crate::sstable) fn push(&mut self, key: &[u8], body: &[u8]) {
        let restart = self.entries.is_multiple_of(RESTART_INTERVAL);
        let shared = if restart { 0 } else { common_prefix(&self.last_key, key) };
        if restart {
            self.restarts.push(self.out.len() as u32);
        }
        put_u64(&mut self.out, shared as u64);
        put_bytes(&mut self.out, &key[shared..]);
        put_bytes(&mut self.out, body);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.entries += 1;
    }

    pub(in crate::sstable) fn len(&self) -> usize {
        self.out.len()
    }

    /// The block's bytes; the builder is as new.
    pub(in crate::sstable) fn finish(&mut self) -> Vec<u8> {
        let mut this = std::mem::take(self);
        this.restarts.iter().for_each(|r| this.out.extend_from_slice(&r.to_le_bytes()));
        this.out.extend_from_slice(&(this.restarts.len() as u32).to_le_bytes());
        this.out
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A decoded block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    data: Bytes,
    base: Base,
    /// Where entries begin and end.
    entries: (usize, usize),
}

/// A key and where its body lies.
#[derive(Clone, Debug)]
pub(in crate::sstable) struct Entry {
    pub(in crate::sstable) key: Bytes,
    pub(in crate::sstable) body: (usize, usize),
}

impl Block {
    /// Reads a block, all of whose seqs are `given` if that is some.
    pub(in crate::sstable) fn parse(data: Bytes, given: Option<Seq>) -> Result<Self> {
        let mut input = Input::new(&data, 0, data.len());
        let stored = Seq(input.u64()?);
        let base = Base { seq: given.unwrap_or(stored), timestamp: Micros(input.i64()?) };
        let first = input.at;
        let count_at = data.len().checked_sub(4).ok_or(Damaged("it has no restarts"))?;
        let restarts = u32_at(&data, count_at) as usize;
        let end = restarts.checked_mul(4).and_then(|n| count_at.checked_sub(n)).ok_or(Damaged("its restarts reach over its start"))?;
        if first > end || restarts == 0 {
            return Err(Damaged("it has no entries"));
        }
        Ok(Self { data, base, entries: (first, end) })
    }

    pub(in crate::sstable) fn base(&self) -> Base {
        self.base
    }

    pub(in crate::sstable) fn data(&self) -> &Bytes {
        &self.data
    }

    /// Bytes in memory.
    pub(crate) fn weight(&self) -> u64 {
        self.data.len() as u64 + 96
    }

    /// Entries from the first with a key at or above `start`.
    pub(in crate::sstable) fn seek(&self, start: &[u8]) -> Result<Entries> {
        let mut entries = Entries { at: self.restart_before(start)?, ..Entries::default() };
        while let Some(entry) = entries.next(self)? {
            if entry.key.as_ref() >= start {
                entries.peeked = Some(entry);
                break;
            }
        }
        Ok(entries)
    }

    /// All entries.
    pub(in crate::sstable) fn all(&self) -> Result<Vec<Entry>> {
        let mut entries = Entries { at: self.entries.0, ..Entries::default() };
        let mut out = Vec::new();
        while let Some(entry) = entries.next(self)? {
            out.push(entry);
        }
        Ok(out)
    }

    /// Where the last restart with a key below `start` lies, else the first.
    fn restart_before(&self, start: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, (self.data.len() - 4 - self.entries.1) / 4);
        while high - low > 1 {
            let middle = low.midpoint(high);
            let mut input = self.entry_at(self.restart(middle));
            if input.u64()? != 0 {
                return Err(Damaged("a restart has no whole key"));
            }
            let (from, to) = input.span()?;
            if &self.data[from..to] < start { low = middle } else { high = middle }
        }
        Ok(self.restart(low))
    }

    fn restart(&self, i: usize) -> usize {
        (u32_at(&self.data, self.entries.1 + 4 * i) as usize).max(self.entries.0)
    }

    fn entry_at(&self, at: usize) -> Input<'_> {
        Input::new(&self.data, at, self.entries.1)
    }
}

fn u32_at(data: &Bytes, at: usize) -> u32 {
    u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

/// Walks a block's entries.
#[derive(Clone, Debug, Default)]
pub(in crate::sstable) struct Entries {
    at: usize,
    key: Vec<u8>,
    peeked: Option<Entry>,
}

impl Entries {
    pub(in crate::sstable) fn is_done(&self, block: &Block) -> bool {
        self.peeked.is_none() && self.at >= block.entries.1
    }

    pub(in crate::sstable) fn next(&mut self, block: &Block) -> Result<Option<Entry>> {
        if let Some(entry) = self.peeked.take() {
            return Ok(Some(entry));
        }
        let mut input = block.entry_at(self.at);
        if input.is_done() {
            return Ok(None);
        }
        let shared = input.u64()? as usize;
        if shared > self.key.len() {
            return Err(Damaged("a key shares more than the key before has"));
        }
        let (from, to) = input.span()?;
        self.key.truncate(shared);
        self.key.extend_from_slice(&block.data[from..to]);
        let body = input.span()?;
        self.at = input.at;
        // A whole key needs no copy.
        let key = if shared == 0 { block.data.slice(from..to) } else { Bytes::copy_from_slice(&self.key) };
        Ok(Some(Entry { key, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_finds_the_first_key_at_or_above() {
        let mut builder = BlockBuilder::default();
        builder.begin(Base::default());
        let keys: Vec<_> = (0..100).map(|i| format!("user{:03}", i * 2)).collect();
        keys.iter().for_each(|k| builder.push(k.as_bytes(), k.as_bytes()));
        let block = Block::parse(builder.finish().into(), None).unwrap();
        assert_eq!(block.all().unwrap().len(), 100);
        for i in 0..200 {
            let found = block.seek(format!("user{i:03}").as_bytes()).unwrap().next(&block).unwrap().map(|e| e.key);
            let expected = keys.get((i as usize).div_ceil(2)).cloned().map(Bytes::from);
            assert_eq!(found, expected, "{i}");
        }
    }

    #[test]
    fn arbitrary_bytes_are_an_error_not_a_panic() {
        let mut state = 1u64;
        for length in 0..400usize {
            let noise = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8 & 0x1F
            });
            let bytes: Vec<u8> = noise.take(length).collect();
            if let Ok(block) = Block::parse(bytes.into(), None) {
                let _ = (block.all(), block.seek(b"x"));
            }
        }
    }
}
