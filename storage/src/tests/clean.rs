//! Rows that are read without judging are those that judging gives.

use super::harness::{World, bytes, family, read};
use bytes::Bytes;
use common::key::KeyRange;
use common::row::{Aggregate, Columns, Mutation, ReadSpec, RowMutation};
use common::time::{Micros, TimeRange};
use proptest::prelude::*;

/// What is done to the rows from one number to another, each so many apart.
#[derive(Clone, Debug)]
struct Wave {
    rows: (u32, u32, u32),
    what: What,
    flush: bool,
}

#[derive(Clone, Debug)]
enum What {
    /// Columns by bits, the bytes of the widest value, the timestamp.
    Set(u8, usize, Option<i64>),
    /// To which column, at which timestamp.
    Combine(usize, i64),
    DeleteRow,
    DeleteColumn,
    DeleteRange,
    Compact,
}

fn wave() -> impl Strategy<Value = Wave> {
    let what = prop_oneof![
        10 => (1u8..32, prop_oneof![Just(3usize), Just(90), Just(5000)], prop::option::of(900_000_000i64..1_000_000_000)).prop_map(|(c, w, t)| What::Set(c, w, t)),
        2 => (0usize..4, 900_000_000i64..900_000_003).prop_map(|(c, t)| What::Combine(c, t)),
        1 => Just(What::DeleteRow),
        1 => Just(What::DeleteColumn),
        1 => Just(What::DeleteRange),
        1 => Just(What::Compact),
    ];
    let rows = (0u32..160, 1u32..160, prop_oneof![3 => Just(1u32), 1 => 2u32..40]);
    (rows, what, prop::bool::weighted(0.8)).prop_map(|(rows, what, flush)| Wave { rows, what, flush })
}

fn key(n: u32) -> Bytes {
    bytes(&format!("{}/{:03}", if n < 90 { "first user" } else { "second" }, n))
}

const COLUMNS: [(&str, &str); 5] = [("all", "p"), ("all", "q"), ("two", "p"), ("young", "p"), ("young", "w")];

fn mutations(n: u32, what: &What) -> Vec<Mutation> {
    match what {
        What::Set(columns, widest, timestamp) => (0..COLUMNS.len())
            .filter(|i| columns >> i & 1 == 1)
            .map(|i| Mutation::Set {
                family: family(COLUMNS[i].0),
                qualifier: bytes(COLUMNS[i].1),
                timestamp: timestamp.map(|t| Micros(t + i64::from(n % 2))),
                value: vec![n as u8; if i == 4 { *widest } else { (n as usize * i) % 30 }].into(),
            })
            .collect(),
        What::Combine(column, timestamp) => vec![Mutation::Combine {
            family: family(COLUMNS[*column].0),
            qualifier: bytes(COLUMNS[*column].1),
            timestamp: Micros(*timestamp),
            aggregate: Aggregate::Sum,
            value: n.into(),
        }],
        What::DeleteColumn => vec![Mutation::DeleteColumn { family: family("all"), qualifier: bytes("q"), timestamps: TimeRange::ALL }],
        _ => vec![Mutation::DeleteRow],
    }
}

async fn run(waves: Vec<Wave>) -> (World, crate::Tablet) {
    let mut world = World::new();
    world.tune = |config| config.block_bytes = 700;
    let (_, tablet) = world.start().await;
    for Wave { rows: (from, count, step), what, flush } in waves {
        match what {
            What::Compact => tablet.compact().await.unwrap(),
            What::DeleteRange => drop(tablet.delete_range(KeyRange::new(key(from), Some(key(from + 1 + count / 8))), None).await),
            what => {
                let rows = (from..from + count).step_by(step as usize);
                let rows: Vec<_> = rows.map(|n| RowMutation { key: key(n), mutations: mutations(n, &what) }).collect();
                tablet.write(rows, None).await.unwrap();
            }
        }
        if flush {
            tablet.flush().await.unwrap();
        }
    }
    (world, tablet)
}

fn spec() -> impl Strategy<Value = ReadSpec> {
    let columns = prop_oneof![
        3 => Just(Columns::All),
        1 => Just(Columns::Some(vec![(family("all"), None), (family("young"), Some(bytes("w")))])),
        1 => Just(Columns::Some(vec![(family("two"), Some(bytes("p")))])),
    ];
    let timestamps = prop_oneof![3 => Just(TimeRange::ALL), 1 => Just(TimeRange { start: Micros(950_000_000), end: Micros(999_999_999) })];
    let ranges = prop_oneof![
        Just(vec![KeyRange::ALL]),
        prop::collection::vec((0u32..330, 1u32..100), 1..4)
            .prop_map(|list| list.into_iter().map(|(from, count)| KeyRange::new(key(from), Some(key(from + count)))).collect())
    ];
    (ranges, any::<bool>(), columns, timestamps, 0u32..3, prop_oneof![Just(0u64), 1u64..90]).prop_map(
        |(ranges, reverse, columns, timestamps, cells_per_column, row_limit)| ReadSpec {
            ranges,
            reverse,
            columns,
            timestamps,
            cells_per_column,
            row_limit,
            ..ReadSpec::default()
        },
    )
}

/// The same, with a limit that says nothing but that its cells are counted: so it is judged.
fn judged(spec: &ReadSpec) -> ReadSpec {
    ReadSpec { cell_limit: u32::MAX, ..spec.clone() }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn clean_rows_are_the_judged_ones(waves in prop::collection::vec(wave(), 1..9), specs in prop::collection::vec((spec(), 0u64..=100), 4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_world, tablet) = run(waves).await;
            let seqs = (tablet.floor().0, tablet.visible().0);
            for (spec, percent) in specs {
                let at = common::ids::Seq(seqs.0 + (seqs.1 - seqs.0) * percent / 100);
                // Twice: what the first read brings into memory the second finds there.
                for _ in 0..2 {
                    assert_eq!(read(&tablet, spec.clone(), at).await, read(&tablet, judged(&spec), at).await, "{spec:?} at {at}");
                }
                // Again and again: then a block's rows are laid out by rows.
                for n in (0..3).flat_map(|_| (0..330).step_by(7)) {
                    let row = tablet.read_row(&key(n), &spec, at).await.unwrap();
                    assert_eq!(row, tablet.read_row(&key(n), &judged(&spec), at).await.unwrap(), "{:?} of {spec:?} at {at}", key(n));
                    assert_eq!(row, tablet.read_row(&key(n), &spec, at).await.unwrap());
                }
            }
        });
    }
}
