//! Exit codes: 0 there was nothing to do, 1 an error, and this one.

/// Something was changed, or something was found that is to be done.
pub const CHANGES: u8 = 2;
