use super::world::World;
use crate::runner::api;

const NAMES: &str = "name: a.names\nkey: {partition: [name, user], unique: [name, user]}\nsql: select s.name, e.user, count(*) as n from raw.events e join seeds.names s on s.user = e.user group by 1, 2\n";
const OTHERS: &str =
    "name: a.others\nkey: {partition: [user], unique: [user]}\nsql: select \"user\", count(*) as n from raw.events group by 1\n";

fn order(csv: &str) -> api::Order {
    let files = [("seeds/names.csv", csv), ("derived/names.yaml", NAMES), ("derived/others.yaml", OTHERS)];
    api::Order { files: files.into_iter().map(|(p, t)| (p.to_owned(), t.to_owned())).collect(), ..api::Order::default() }
}

async fn apply(world: &World, csv: &str) -> (&'static str, u64, u64) {
    let found = api::apply(&world.cluster, &world.sql, &order(csv)).await.unwrap();
    world.fresh().await;
    (found.seeds[0].status, found.seeds[0].written, found.seeds[0].deleted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_is_loaded_as_a_difference_and_only_changed_rows_are_changes() {
    let world = World::new().await;
    world.put(&[("u1".into(), 1, 1, 1), ("u2".into(), 1, 2, 1), ("u3".into(), 1, 3, 1)]).await;
    assert_eq!(apply(&world, "user,name\nu1,ann\nu2,bob\n").await, ("created", 2, 0));
    let names = "select name, \"user\", n from a.names";
    assert_eq!(world.rows(names).await, ["ann | u1 | 1", "bob | u2 | 1"]);
    let versions = [world.version("a.names"), world.version("a.others")];
    assert_eq!(apply(&world, "user,name\nu2,bob\nu1,ann\n").await, ("unchanged", 0, 0), "the order of rows means nothing");
    assert_eq!([world.version("a.names"), world.version("a.others")], versions);
    assert_eq!(apply(&world, "user,name\nu2,bill\nu3,cy\n").await, ("changed", 2, 1));
    assert_eq!(world.rows(names).await, ["bill | u2 | 1", "cy | u3 | 1"]);
    assert!(world.version("a.names") > versions[0]);
    assert_eq!(world.version("a.others"), versions[1], "it does not read the seed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_does_not_fit_its_table_changes_nothing() {
    let world = World::new().await;
    apply(&world, "user,name\nu1,ann\n").await;
    let wrong = api::apply(&world.cluster, &world.sql, &order("user,name,age\nu1,eve,5\n")).await.unwrap_err();
    assert!(wrong.message.contains("seeds/names.csv") && wrong.message.contains("other columns"), "{wrong}");
    assert_eq!(world.rows("select name from seeds.names").await, ["ann"]);
}
