use super::builder::Built;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The answer of a filter as a reader gives it.
struct Filter {
    index: FilterIndex,
    partitions: Vec<FilterPartition>,
}

impl Filter {
    fn of(built: &Built) -> Self {
        let bytes = |p: &FilterPlace| &built.partitions[p.offset as usize..][..p.length as usize];
        assert!(built.index.is_sorted());
        let partitions = built.index.partitions.iter().map(|p| FilterPartition::decode(bytes(p)).unwrap()).collect();
        Self { index: built.index.clone(), partitions }
    }

    fn answer(&self, ask: Ask, hash: KeyHash) -> bool {
        match ask {
            Ask::Absent => false,
            Ask::Present => true,
            Ask::Partition(n) => self.partitions[n].may_contain(hash),
        }
    }

    fn row(&self, key: &[u8]) -> bool {
        self.answer(self.index.row(key), KeyHash::of_row(key))
    }

    fn prefix(&self, prefix: &[u8]) -> bool {
        self.answer(self.index.prefix(prefix), KeyHash::of_prefix(prefix))
    }
}

fn build(keys: impl IntoIterator<Item = Vec<u8>>, prefix_len: usize) -> Built {
    let mut builder = FilterBuilder::default();
    for key in keys {
        builder.add_row(&key, Some(prefix_len).filter(|&len| len > 0)).unwrap();
    }
    builder.finish().unwrap()
}

/// `rows` rows for each of `users` users with an even number.
fn events(users: u32, rows: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..users).flat_map(move |user| (0..rows).map(move |row| [(2 * user).to_be_bytes(), (3 * row).to_be_bytes()].concat()))
}

#[test]
fn rows_and_prefixes_are_found_over_many_partitions_and_few_others_are() {
    let (users, rows) = (700, 90);
    let mut built = build(events(users, rows), 4);
    assert!(built.index.partitions.len() >= 4, "{}", built.index.partitions.len());
    assert!(built.partitions.len() < 63_700 * 14 / 8 + 600, "{}", built.partitions.len());
    let filter = Filter::of(&built);
    assert!(events(users, rows).all(|key| filter.row(&key)));
    assert!((0..users).all(|user| filter.prefix(&(2 * user).to_be_bytes())));
    let wrong_rows = events(users, rows).filter(|key| filter.row(&[&key[..7], &[key[7] ^ 1]].concat())).count();
    assert!(wrong_rows < 63_000 / 200, "{wrong_rows} rows found that are not there");
    let wrong_users = (0..users).filter(|user| filter.prefix(&(2 * user + 1).to_be_bytes())).count();
    assert!(wrong_users < 20, "{wrong_users} users found that are not there");
    let before = built.index.clone();
    built.place(1000);
    assert!(built.index.partitions.iter().zip(&before.partitions).all(|(a, b)| a.offset == b.offset + 1000 && a.length == b.length));
}

#[test]
fn a_prefix_that_fills_partitions_is_found_from_any_of_them() {
    let filter = Filter::of(&build(events(2, 40_000), 4));
    assert!(filter.index.partitions.len() > 4);
    assert!(filter.prefix(&0u32.to_be_bytes()) && filter.prefix(&2u32.to_be_bytes()));
    assert!(!filter.prefix(&4u32.to_be_bytes()) || !filter.prefix(&1u32.to_be_bytes()));
    assert_eq!(filter.index.prefix(&0u32.to_be_bytes()), Ask::Present);
}

#[test]
fn without_prefixes_no_prefix_is_denied() {
    let filter = Filter::of(&build(events(10, 10), 0));
    assert!(filter.prefix(b"anything"));
    let empty = Filter::of(&build([], 4));
    assert!(!empty.row(b"x") && !empty.prefix(b"x"));
}

#[test]
fn damage_is_refused() {
    let built = build(events(3, 3), 4);
    for bit in 0..built.partitions.len() * 8 {
        let mut damaged = built.partitions.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(FilterPartition::decode(&damaged).is_err(), "bit {bit}");
    }
    let size = FilterPartition::decode(&built.partitions).unwrap().size();
    assert!(size < built.partitions.len());
}

proptest! {
    /// Keys of which some are prefixes of each other; a row has a prefix if it is long enough.
    #[test]
    fn nothing_that_is_there_is_denied(
        keys in prop::collection::btree_set(prop::collection::vec(prop_oneof![Just(0u8), Just(255), Just(7)], 1..7), 0..60),
        asked in prop::collection::vec(prop_oneof![Just(0u8), Just(255), Just(7)], 3),
    ) {
        let mut builder = FilterBuilder::default();
        for key in &keys {
            builder.add_row(key, (key.len() >= 3).then_some(3)).unwrap();
        }
        let filter = Filter::of(&builder.finish().unwrap());
        prop_assert!(keys.iter().all(|key| filter.row(key)));
        let prefixes: BTreeSet<&[u8]> = keys.iter().filter(|key| key.len() >= 3).map(|key| &key[..3]).collect();
        prop_assert!(prefixes.iter().all(|prefix| filter.prefix(prefix)));
        prop_assert!(filter.prefix(&asked) || !prefixes.contains(asked.as_slice()));
    }
}
