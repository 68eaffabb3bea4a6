//! Bytes that a write holds of the budget before it is numbered.

use crate::shared::Budget;

/// Gives its bytes back unless they are [kept](Self::keep).
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl<'a> Reserved<'a> {
    /// Bytes that were taken.
    pub(super) fn new(budget: &'a Budget, bytes: usize) -> Self {
        Self { budget, bytes }
    }

    /// Whoever holds them from now on gives them back.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}
