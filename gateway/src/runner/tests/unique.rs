use super::world::World;

const FIRST: &str = "name: a.first\nwindow: {every: hour}\ntime_column: hour\nkey: {partition: [hour], unique: [hour]}\nretries: 0\ncolumns: {who: {tests: [unique]}}\nsql: select date_trunc('hour', at) as hour, min(\"user\") as who from raw.events group by 1\n";

/// Each hour's least user; no user is that of two hours.
#[tokio::test(flavor = "multi_thread")]
async fn unique_is_held_for_changed_rows_against_all_others() {
    let world = World::new().await;
    world.apply(&[("derived/first.yaml", FIRST)]).await;
    world.put(&[("u1".into(), 1, 1, 1), ("u2".into(), 2, 2, 1)]).await;
    world.fresh().await;
    let rows = "select who from a.first";
    assert_eq!(world.rows(rows).await, ["u1", "u2"]);
    world.put(&[("u1".into(), 3, 3, 1)]).await;
    let status = world.settled().await;
    let table = status.tables.iter().find(|t| t.table == "a.first").unwrap();
    assert!(table.failures[0].error.contains("test 'who is unique' does not hold"), "{:?}", table.failures);
    assert_eq!(world.rows(rows).await, ["u1", "u2"], "what was published before serves");
    world.delete(&[("u1".into(), 1, 1, 1)]).await;
    world.put(&[("u0".into(), 1, 4, 1)]).await;
    world.settled().await;
    assert!(world.rows(rows).await.contains(&"u0".to_owned()), "other windows go on");
}
