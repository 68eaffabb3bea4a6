//! Zipf's law by its cumulative distribution.

use rand::Rng;

/// Ranks 0 to n−1, the k-th with a weight of 1/(k+1).
#[derive(Debug)]
pub(super) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(n: usize) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=n)
            .map(|k| {
                sum += 1.0 / k as f64;
                sum
            })
            .collect();
        Self { cumulative }
    }

    pub(super) fn pick(&self, random: &mut impl Rng) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let at = random.random_range(0.0..total);
        self.cumulative.partition_point(|&c| c <= at).min(self.cumulative.len() - 1)
    }
}
