//! Numbers that are the same on every machine and in every version.

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own for thing `n` of kind `kind`.
    pub fn of(seed: u64, kind: u64, n: u64) -> Self {
        let mut mixed = Self(seed ^ kind.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed.bits();
        mixed
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Below `n`; `n` > 0.
    pub fn below(&mut self, n: u32) -> u32 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u32
    }

    /// In `[from, to)`.
    pub fn between(&mut self, from: u32, to: u32) -> u32 {
        from + self.below(to - from)
    }

    /// Whether something with `n` chances in 1,000 happens.
    pub fn per_mille(&mut self, n: u32) -> bool {
        self.below(1_000) < n
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// An index of `weights`, with that chance.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (i, w) in weights.iter().enumerate() {
            if left < *w {
                return i;
            }
            left -= w;
        }
        weights.len() - 1
    }
}

/// Draws ranks 0..n with a chance proportional to `(rank + 1)^-0.6`: the first player plays some hundred
/// times as often as the last.
#[derive(Debug)]
pub struct Zipf {
    /// Running sums, scaled to the whole range of `u64`.
    sums: Vec<u64>,
}

impl Zipf {
    pub fn new(n: u32) -> Self {
        // The weight in whole numbers, so that no platform's `powf` decides a byte: rank^-0.6 = 1 / (rank³)^(1/5).
        let weights = (1..=u128::from(n.max(1))).map(|rank| (1 << 40) / fifth_root(rank.pow(3) << 60));
        let running: Vec<u128> = weights
            .scan(0, |sum, w| {
                *sum += w;
                Some(*sum)
            })
            .collect();
        let total = running.last().copied().unwrap_or(1);
        Self { sums: running.iter().map(|s| ((s << 64) / total).min(u128::from(u64::MAX)) as u64).collect() }
    }

    pub fn draw(&self, random: &mut Random) -> u32 {
        let at = random.bits();
        self.sums.partition_point(|s| *s <= at).min(self.sums.len() - 1) as u32
    }
}

/// The whole part of the fifth root.
fn fifth_root(n: u128) -> u128 {
    let (mut low, mut high) = (1u128, 1u128 << 25);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if middle.pow(5) <= n { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ranks_are_drawn_most() {
        let (zipf, mut random) = (Zipf::new(1_000), Random::of(7, 0, 0));
        let mut counts = vec![0; 1_000];
        for _ in 0..100_000 {
            counts[zipf.draw(&mut random) as usize] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[999].max(1));
        assert!((30.0..130.0).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|c| *c > 0));
    }

    #[test]
    fn roots_are_whole() {
        assert_eq!([1, 31, 32, 242, 243].map(fifth_root), [1, 1, 2, 2, 3]);
    }
}
