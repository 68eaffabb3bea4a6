//! Which old states stay readable.

use common::ids::Seq;

/// Points kept at most. Further ones hold the floor down instead: everything numbered above the first of them stays.
pub(crate) const MAX_POINTS: usize = 8;

/// The readable seqs of a tablet: the floor and everything above, and single points below it.
///
/// Invariant: `kept` rises and lies below `floor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Points {
    kept: Vec<Seq>,
    floor: Seq,
}

impl Points {
    /// These points, as far as they lie below `floor`, and all from `floor` on.
    pub(crate) fn new(mut kept: Vec<Seq>, floor: Seq) -> Self {
        kept.retain(|p| *p < floor);
        kept.sort_unstable();
        kept.dedup();
        Self { kept, floor }
    }

    /// Everything from here on is readable.
    pub(crate) fn floor(&self) -> Seq {
        self.floor
    }

    /// The points below the floor.
    pub(crate) fn kept(&self) -> &[Seq] {
        &self.kept
    }

    /// All of them, the floor last.
    pub(crate) fn all(&self) -> impl Iterator<Item = Seq> + '_ {
        self.kept.iter().copied().chain([self.floor])
    }

    /// Whether the state at `at` is still there.
    pub(crate) fn is_readable(&self, at: Seq) -> bool {
        at >= self.floor || self.kept.binary_search(&at).is_ok()
    }

    /// Whether some reader can tell `from` from `to`: a point lies in `[from, to)`.
    pub(crate) fn separate(&self, from: Seq, to: Seq) -> bool {
        let first = self.kept.partition_point(|p| *p < from);
        self.kept.get(first).copied().unwrap_or(self.floor.max(from)) < to
    }

    /// What is readable in both: the state that merges by either rule leave.
    pub(crate) fn meet(&self, other: &Self) -> Self {
        let both = self.all().chain(other.all()).filter(|p| self.is_readable(*p) && other.is_readable(*p));
        Self::new(both.collect(), self.floor.max(other.floor))
    }

    /// What stays readable when nothing below `floor` is wanted but `wanted`. What is lost stays lost.
    pub(crate) fn advance(&self, floor: Seq, wanted: impl IntoIterator<Item = Seq>) -> Self {
        let floor = floor.max(self.floor);
        let mut next = Self::new(wanted.into_iter().filter(|p| self.is_readable(*p)).collect(), floor);
        // At most `MAX_POINTS` lie below the present floor, so the one behind them does not.
        if let Some(first) = next.kept.get(MAX_POINTS) {
            next.floor = self.floor.max(*first);
            next.kept.truncate(MAX_POINTS);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(kept: &[u64], floor: u64) -> Points {
        Points::new(kept.iter().copied().map(Seq).collect(), Seq(floor))
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let p = points(&[3, 5], 9);
        let next = p.advance(Seq(20), [3, 4, 12, 25].map(Seq));
        assert_eq!(next, points(&[3, 12], 20));
        assert!(next.is_readable(Seq(12)) && next.is_readable(Seq(20)) && !next.is_readable(Seq(13)));
        assert_eq!(p.advance(Seq(1), []), points(&[], 9), "the floor never falls");
    }

    #[test]
    fn too_many_points_hold_the_floor_down() {
        let next = points(&[], 0).advance(Seq(100), (1..=12).map(|n| Seq(n * 5)));
        assert_eq!(next, points(&[5, 10, 15, 20, 25, 30, 35, 40], 45));
        assert!((45..100).all(|at| next.is_readable(Seq(at))));
    }

    #[test]
    fn two_merges_leave_what_both_keep() {
        assert_eq!(points(&[3, 5], 9).meet(&points(&[3, 4], 7)), points(&[3], 9));
        assert_eq!(points(&[3, 8], 9).meet(&points(&[3], 7)), points(&[3, 8], 9));
    }

    #[test]
    fn a_point_separates_what_lies_on_its_sides() {
        let p = points(&[3], 9);
        let separate = |a, b| p.separate(Seq(a), Seq(b));
        assert!(separate(1, 4) && separate(3, 4) && separate(8, 10) && separate(9, 10) && separate(12, 13));
        assert!(!separate(1, 3) && !separate(4, 9) && !separate(5, 6));
    }
}
