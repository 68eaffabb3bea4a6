//! Reads beyond what the model reads: rows with very many columns, many keys, samples of keys.

use super::harness::{World, bytes, family, read, set, write};
use bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::{ColumnRange, Columns, Mutation, ReadSpec, RowMutation};

#[tokio::test]
async fn samples_lead_along_memtables_and_sstables() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    assert_eq!((tablet.sample_keys().await.unwrap(), tablet.split_points(4).await.unwrap()), ((Vec::new(), 0), Vec::new()));
    for half in 0..2 {
        let rows = (0..500).map(|i| set(&format!("{:04}", 2 * i + half), "some value")).collect();
        tablet.write(rows, None).await.unwrap();
        let (samples, total) = tablet.sample_keys().await.unwrap();
        assert!(samples.len() > 20 && samples.windows(2).all(|w| w[0].key < w[1].key && w[0].offset <= w[1].offset));
        assert!(samples.last().unwrap().offset < total);
        let points = tablet.split_points(4).await.unwrap();
        for (point, wanted) in points.iter().zip([250, 500, 750]) {
            let key: i32 = std::str::from_utf8(&point.key).unwrap().parse().unwrap();
            assert!((key - wanted).abs() < 80, "{points:?}");
        }
        assert_eq!(points.len(), 3);
        tablet.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_row_with_very_many_columns_is_read_in_pieces() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    let qualifier = |i: usize| Bytes::from(format!("{i:06}"));
    let set = |i| Mutation::Set { family: family("all"), qualifier: qualifier(i), timestamp: None, value: bytes("v") };
    for from in (0..20_000).step_by(500) {
        let row = RowMutation { key: bytes("k"), mutations: (from..from + 500).map(set).collect() };
        write(&tablet, row).await;
        if from == 10_000 {
            tablet.flush().await.unwrap();
        }
    }
    let (mut start, mut seen) = (Bytes::new(), 0);
    loop {
        let range = ColumnRange { family: family("all"), start, end: None };
        let spec = ReadSpec { columns: Columns::Ranges(vec![range]), cell_limit: 777, ..ReadSpec::row(b"k") };
        let Some(row) = tablet.read_row(b"k", &spec, Seq::MAX).await.unwrap() else { break };
        for cell in &row.cells {
            assert_eq!(cell.qualifier, qualifier(seen));
            seen += 1;
        }
        assert!(row.cells.len() == 777 || seen == 20_000);
        start = Bytes::from([row.cells.last().unwrap().qualifier.as_ref(), b"\0"].concat());
    }
    assert_eq!(seen, 20_000);
}

#[tokio::test]
async fn many_keys_and_ranges_are_one_read_in_both_directions() {
    let mut world = World::new();
    let (_, tablet) = world.start().await;
    for half in 0..2 {
        let rows = (0..1500).map(|i| set(&format!("{:04}", 2 * i + half), "v")).collect();
        tablet.write(rows, None).await.unwrap();
        if half == 0 {
            tablet.flush().await.unwrap();
        }
    }
    let keys = || (0..3000).step_by(2).map(|i| KeyRange::single(format!("{i:04}").as_bytes()));
    let all: Vec<String> = (0..3000).step_by(2).map(|i| format!("{i:04}")).collect();
    let names = |rows: &[common::row::Row]| rows.iter().map(|r| String::from_utf8(r.key.to_vec()).unwrap()).collect::<Vec<_>>();
    let spec = ReadSpec { ranges: keys().collect(), ..ReadSpec::default() };
    assert_eq!(names(&read(&tablet, spec.clone(), Seq::MAX).await), all);
    let reversed = ReadSpec { reverse: true, row_limit: 1100, ..spec.clone() };
    assert_eq!(names(&read(&tablet, reversed, Seq::MAX).await), all.iter().rev().take(1100).cloned().collect::<Vec<_>>());
    let wide = ReadSpec { ranges: keys().chain([KeyRange::new("2990", None)]).collect(), ..spec };
    let mut expected: Vec<_> = all.into_iter().chain((2990..3000).map(|i| i.to_string())).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(names(&read(&tablet, wide, Seq::MAX).await), expected);
}
