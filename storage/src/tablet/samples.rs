//! Where a tablet's bytes lie: for cutting it, and for those who read it in parallel parts.

use super::inner::Inner;
use bytes::Bytes;
use common::Result;
use std::collections::BTreeMap;

/// A key of a tablet, and how many bytes lie before it, about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySample {
    /// A key within the tablet's range, above its start.
    pub key: Bytes,
    /// Bytes of the rows below it, as they are stored: an estimate.
    pub offset: u64,
}

/// Samples of a memtable.
const MEMTABLE_SAMPLES: usize = 64;

impl Inner {
    /// Keys along the tablet, ascending, and its bytes in all.
    pub(super) async fn samples(&self) -> Result<(Vec<KeySample>, u64)> {
        self.check_serving()?;
        let state = self.state();
        let mut weights: BTreeMap<Bytes, u64> = BTreeMap::new();
        let mut add = |(key, bytes): (Bytes, u64)| *weights.entry(key).or_default() += bytes;
        for table in state.memtables() {
            table.samples(MEMTABLE_SAMPLES).into_iter().for_each(&mut add);
        }
        for sstable in &state.sstables {
            sstable.samples().await?.into_iter().for_each(&mut add);
        }
        self.check_serving()?;
        let (mut samples, mut offset) = (Vec::with_capacity(weights.len()), 0);
        for (key, bytes) in weights {
            if key > self.range.start {
                samples.push(KeySample { key, offset });
            }
            offset += bytes;
        }
        Ok((samples, offset))
    }

    /// At most `parts` − 1 keys that cut the tablet into parts of about equal size.
    pub(super) async fn split_points(&self, parts: usize) -> Result<Vec<KeySample>> {
        let (samples, total) = self.samples().await?;
        Ok(cut(&samples, total, parts))
    }
}

/// Of these samples those nearest to equal parts, each at most once.
fn cut(samples: &[KeySample], total: u64, parts: usize) -> Vec<KeySample> {
    let mut points: Vec<KeySample> = Vec::new();
    for part in 1..parts as u64 {
        let wanted = (u128::from(total) * u128::from(part) / parts as u128) as u64;
        let at = samples.partition_point(|s| s.offset < wanted);
        let nearest = samples[at.saturating_sub(1)..samples.len().min(at + 1)].iter().min_by_key(|s| s.offset.abs_diff(wanted));
        // An offset of 0 is the tablet's begin.
        points.extend(nearest.filter(|s| s.offset > 0 && points.last().is_none_or(|last| last.key < s.key)).cloned());
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_cut_into_about_equal_parts() {
        let samples: Vec<_> = (0..100u64).map(|i| KeySample { key: Bytes::from(format!("{i:03}")), offset: i * i }).collect();
        let offsets = |parts| cut(&samples, 10_000, parts).iter().map(|s| s.offset).collect::<Vec<_>>();
        assert_eq!(offsets(2), [71 * 71]);
        assert_eq!(offsets(4), [2500, 71 * 71, 87 * 87]);
        assert!(offsets(1).is_empty() && offsets(0).is_empty());
        let all = offsets(1000);
        assert!(all.windows(2).all(|w| w[0] < w[1]) && all[0] > 0);
        assert!(cut(&[], 0, 4).is_empty());
    }
}
