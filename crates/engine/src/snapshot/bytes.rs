//! Little-endian numbers, written to a buffer and read from bytes that nobody vouches for.

/// Why bytes are no snapshot root or page, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// What is left to read.
pub(crate) struct Input<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    /// That it is not what it should be, here.
    pub(crate) fn bad(&self, what: &'static str) -> Bad {
        Bad { at: self.at, what }
    }

    pub(crate) fn left(&self) -> usize {
        self.all.len() - self.at
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.all.len());
        let end = end.ok_or(self.bad("it ends too early"))?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let at = self.at;
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Bad { at, what: "it ends too early" })
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Bad> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Bad> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Bad> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Bad> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things that take at least `each` bytes, so that none can be larger than what is
    /// there.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, Bad> {
        let at = self.at;
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        match count.checked_mul(each) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(Bad { at, what: "a count is larger than what follows" }),
        }
    }
}

pub(crate) fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// A length as it stands before what it is the length of; no list here has 2³² things.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).unwrap_or(u32::MAX));
}
