//! Tables without windows that are appended to.

use super::world::World;

const FIRST: &str = r#"
name: test.first
strategy: append
key: {partition: [user]}
sql: select l."user", l.n, u.country from raw.log l left join raw.users u on u."user" = l."user" where l.n > 0
"#;
const SECOND: &str = r#"
name: test.second
strategy: append
key: {partition: [user], unique: [user, at]}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_new_input_row_is_appended_once_with_lookups_as_of_its_run() {
    let world = World::new().await;
    world.put_users(&[("u0".into(), Some("de".into()))]).await;
    world.put_into("raw.log", &[("u0".into(), 0, 1, 5), ("u1".into(), 0, 2, 6), ("u1".into(), 0, 3, 0)]).await;
    let second = SECOND.replace("unique: [user, at]", "cluster: [n]") + "sql: select \"user\", n + 1 as n from test.first\n";
    world.apply(&[("first.yaml", FIRST), ("second.yaml", &second)]).await;
    world.fresh().await;
    let rows = async |table: &str| world.rows(&format!("select * from {table}")).await;
    assert_eq!(rows("test.first").await, ["u0 | 5 | de", "u1 | 6 | "]);
    // The lookup changes: nothing is appended for it, and only new rows see it.
    world.put_users(&[("u0".into(), Some("fr".into()))]).await;
    world.put_into("raw.log", &[("u0".into(), 1, 4, 5), ("u0".into(), 1, 5, 5)]).await;
    world.fresh().await;
    assert_eq!(rows("test.first").await, ["u0 | 5 | de", "u0 | 5 | fr", "u0 | 5 | fr", "u1 | 6 | "]);
    let status = world.settled().await;
    let path = |table: &str| status.tables.iter().find(|t| t.table == table).unwrap().last_run.as_ref().unwrap().path.clone();
    assert_eq!((path("test.first").as_str(), path("test.second").as_str()), ("new rows: 2", "new rows: 2"));
    assert_eq!(rows("test.second").await, ["u0 | 6", "u0 | 6", "u0 | 6", "u1 | 7"]);
    // An equal row of another run is a row of its own.
    world.put_into("raw.log", &[("u0".into(), 2, 6, 5)]).await;
    world.fresh().await;
    assert_eq!(rows("test.second").await.len(), 5);
    // A source that promised otherwise writes a row again: one insert per row, ever.
    world.put_into("raw.log", &[("u0".into(), 2, 6, 9)]).await;
    world.fresh().await;
    assert_eq!((rows("test.first").await.len(), rows("test.second").await.len()), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_key_that_was_appended_before_fails_the_run() {
    let world = World::new().await;
    world.put_into("raw.log", &[("u0".into(), 0, 1, 5)]).await;
    let yaml =
        SECOND.replace("partition: [user]", "partition: [user], cluster: [at]").replace("strategy: append", "strategy: append\nretries: 0");
    world.apply(&[("second.yaml", &(yaml + "sql: select \"user\", at, n from raw.log\n"))]).await;
    world.fresh().await;
    world.put_into("raw.log", &[("u0".into(), 0, 2, 7)]).await;
    let status = world.settled().await;
    let failure = &status.tables[0].failures[0];
    assert!(failure.error.contains("was appended before") && failure.error.contains("user = 'u0'"), "{}", failure.error);
    assert_eq!(world.rows("select n from test.second").await, ["5"]);
}
