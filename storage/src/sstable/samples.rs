//! Where the bytes of an SSTable lie: keys along it, from its index.

use super::Section;
use super::reader::Reader;
use bytes::Bytes;
use common::Result;

impl Reader {
    /// Keys along the part of it that counts, each with the bytes that lie from it to the next.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn samples(&self) -> Result<Vec<(Bytes, u64)>> {
        let blocks = self.index(Section::Cells).iter().enumerate();
        // The first block may begin before the range; what of it lies inside is not known, so it counts whole.
        let index = self.index(Section::Cells);
        let inside = |i: usize| {
            let begins_before_end = self.range().end.as_ref().is_none_or(|end| index[i].first_key < *end);
            begins_before_end && index.get(i + 1).is_none_or(|next| next.first_key > self.range().start)
        };
        let sample = |e: &super::index::IndexEntry| (e.first_key.clone().max(self.range().start.clone()), u64::from(e.length));
        Ok(blocks.filter(|(i, _)| inside(*i)).map(|(_, e)| sample(e)).collect())
    }
}
