//! Integers in pages and records: LEB128, signed ones zigzag. Reading never panics and never trusts a length.

use bytes::Bytes;

/// What does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged(pub(crate) &'static str);

pub(crate) type Result<T> = std::result::Result<T, Damaged>;

pub(crate) fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_i64(out: &mut Vec<u8>, n: i64) {
    put_u64(out, ((n << 1) ^ (n >> 63)) as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a block from `at` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) at: usize,
    pub(crate) end: usize,
}

impl<'a> Input<'a> {
    /// `end` must lie within `bytes`.
    pub(crate) fn new(bytes: &'a Bytes, at: usize, end: usize) -> Self {
        Self { bytes, at, end: end.min(bytes.len()) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.end
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        let byte = *self.bytes[..self.end].get(self.at).ok_or(Damaged("it ends within a byte"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            n |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Damaged("an integer is longer than 10 bytes"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        u32::try_from(self.u64()?).map_err(|_| Damaged("an integer is above 32 bits"))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        let n = self.u64()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A length, then where that many bytes lie.
    pub(crate) fn span(&mut self) -> Result<(usize, usize)> {
        let length = usize::try_from(self.u64()?).map_err(|_| Damaged("a length is above the address space"))?;
        if length > self.end.saturating_sub(self.at) {
            return Err(Damaged("a length reaches over the end"));
        }
        let from = self.at;
        self.at += length;
        Ok((from, self.at))
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.left() {
            return Err(Damaged("it ends too early"));
        }
        let from = self.at;
        self.at += length;
        Ok(&self.bytes[from..self.at])
    }

    /// [`Self::take`] as a slice that shares the memory.
    pub(crate) fn take_bytes(&mut self, length: usize) -> Result<Bytes> {
        let from = self.at;
        self.take(length)?;
        Ok(self.bytes.slice(from..self.at))
    }

    pub(crate) fn slice(&mut self) -> Result<Bytes> {
        let (from, to) = self.span()?;
        Ok(self.bytes.slice(from..to))
    }
}

/// Reads a row from its start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(Damaged("it ends within a byte"))?;
        self.rest = rest;
        Ok(*byte)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64> {
        match self.u8()? {
            byte if byte < 0x80 => Ok(u64::from(byte)),
            byte => self.rest_of_u64(byte),
        }
    }

    fn rest_of_u64(&mut self, first: u8) -> Result<u64> {
        let mut n = u64::from(first & 0x7F);
        for shift in (7..64).step_by(7) {
            let byte = self.u8()?;
            n |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Damaged("an integer is longer than 10 bytes"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        u32::try_from(self.u64()?).map_err(|_| Damaged("an integer is above 32 bits"))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        let n = self.u64()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A length, then that many bytes.
    #[inline]
    pub(crate) fn slice(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.u64()?).map_err(|_| Damaged("a length is above the address space"))?;
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(Damaged("a length reaches over the end"))?;
        self.rest = rest;
        Ok(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back() {
        for n in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, 1 << 40] {
            let mut out = Vec::new();
            put_i64(&mut out, n);
            put_u64(&mut out, n as u64);
            let bytes = Bytes::from(out);
            let mut input = Input::new(&bytes, 0, bytes.len());
            assert_eq!((input.i64(), input.u64()), (Ok(n), Ok(n as u64)));
            assert!(input.is_done() && input.u8().is_err());
            let mut walk = Walk::new(&bytes);
            assert_eq!((walk.i64(), walk.u64()), (Ok(n), Ok(n as u64)));
            assert!(walk.is_done() && walk.u8().is_err());
        }
    }
}
