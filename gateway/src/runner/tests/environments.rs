//! Tables of another form, environments, and taking changes back.

use super::super::Runner;
use super::super::api::{self, Order};
use super::world::{COUNTS, World, days};
use common::ErrorKind;
use std::collections::BTreeMap;

/// Reads `test.counts`.
const WEEKS: &str = r#"
name: test.weeks
window: {every: week}
time_column: week
key: {partition: [week], unique: [week]}
sql: select date_trunc('week', day)::date as week, sum(events) as events from test.counts group by 1
"#;

fn order(environment: &str, files: &[(&str, &str)]) -> Order {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>();
    Order { files, environment: environment.into(), ..Order::default() }
}

impl World {
    /// Applies, and gives what became of each table.
    async fn order(&self, order: &Order) -> Vec<(String, &'static str)> {
        let found = api::apply(&self.cluster, &self.sql, order).await.unwrap();
        found.tables.into_iter().map(|f| (f.name, f.status)).collect()
    }

    async fn first_tables() -> Self {
        let world = Self::new().await;
        world.put(&days(20)).await;
        world.apply(&[("counts.yaml", COUNTS), ("weeks.yaml", WEEKS)]).await;
        world.fresh().await;
        world
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_form_is_built_beside_the_one_that_serves_and_then_takes_its_place() {
    let mut world = World::first_tables().await;
    let (old, weeks) = (world.cluster.table("test.counts").unwrap().id, world.rows("select * from test.weeks").await);
    let more = COUNTS.replace("count(*) as events", "count(*) as events, max(n) as most");
    if let Some(runner) = world.runner.take() {
        runner.stop().await;
    }
    assert_eq!(world.order(&order("", &[("counts.yaml", &more), ("weeks.yaml", WEEKS)])).await[0], ("test.counts".into(), "rebuilt"));
    // Nobody builds it now: the old form serves, whole.
    assert_eq!(world.rows("select count(*), sum(events) from test.counts").await, ["20 | 20"]);
    assert!(world.cluster.table("test__next.counts").is_ok());
    world.runner = Some(Runner::start(world.cluster.clone(), world.sql.clone(), "second".into()));
    world.fresh().await;
    assert_ne!(world.cluster.table("test.counts").unwrap().id, old);
    assert_eq!(world.rows("select count(*), sum(events), max(most) from test.counts").await, ["20 | 20 | 2"]);
    assert_eq!(world.rows("select * from test.weeks").await, weeks);
    assert!(world.cluster.table("test__next.counts").is_err());
    // New rows reach the table that took the place, and what reads it.
    world.put(&[("u9".into(), 24, 99, 7)]).await;
    world.fresh().await;
    assert_eq!(world.rows("select events, most from test.counts where day = '2026-01-02'").await, ["2 | 7"]);
    assert_eq!(world.rows("select sum(events) from test.weeks").await, ["21"]);
    let kept = api::environments(&world.cluster.catalog());
    assert!(kept.len() == 1 && kept[0].until.is_some() && kept[0].tables[0].name == "test.counts", "{kept:?}");
    // Taken back, it follows what it has missed.
    api::promote(&world.cluster, world.runner.as_ref(), &kept[0].name).await.unwrap();
    world.fresh().await;
    assert_eq!(world.cluster.table("test.counts").unwrap().id, old);
    assert_eq!(world.rows("select events from test.counts where day = '2026-01-02'").await, ["2"]);
    assert!(world.cluster.table("test.counts").unwrap().column("most").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_tables_that_read_each_other_change_together() {
    let world = World::first_tables().await;
    let more = COUNTS.replace("count(*) as events", "count(*) as events, max(n) as most");
    let weeks = WEEKS.replace("sum(events) as events", "sum(events) as events, max(most) as most");
    let found = world.order(&order("", &[("counts.yaml", &more), ("weeks.yaml", &weeks)])).await;
    assert_eq!(found, [("test.counts".into(), "rebuilt"), ("test.weeks".into(), "rebuilt")]);
    world.fresh().await;
    assert_eq!(world.rows("select sum(events), max(most) from test.weeks").await, ["20 | 2"]);
    let kept = api::environments(&world.cluster.catalog());
    assert_eq!(kept.iter().map(|e| e.tables.len()).collect::<Vec<_>>(), [2], "one change is kept as one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_has_tables_of_its_own_until_it_is_promoted_or_dropped() {
    let world = World::first_tables().await;
    let ten = COUNTS.replace("count(*)", "count(*) * 10");
    let dev = order("dev", &[("counts.yaml", &ten), ("weeks.yaml", WEEKS)]);
    assert_eq!(world.order(&dev).await, [("test.counts".into(), "changed"), ("test.weeks".into(), "rebuilt")]);
    world.fresh().await;
    assert_eq!(world.rows("select sum(events) from test__dev.weeks").await, ["200"]);
    assert_eq!(world.rows("select sum(events) from test.weeks").await, ["20"]);
    // It follows the same rows.
    world.put(&[("u9".into(), 24, 99, 7)]).await;
    world.fresh().await;
    assert_eq!(world.rows("select sum(events) from test__dev.weeks").await, ["210"]);
    api::promote(&world.cluster, world.runner.as_ref(), "dev").await.unwrap();
    world.fresh().await;
    assert_eq!(world.rows("select sum(events) from test.weeks").await, ["210"]);
    assert!(world.cluster.table("test__dev.weeks").is_err());
    let gone = api::promote(&world.cluster, world.runner.as_ref(), "dev").await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
    world.order(&order("dev", &[("counts.yaml", COUNTS)])).await;
    api::discard(&world.cluster, "dev").await.unwrap();
    world.fresh().await;
    assert_eq!(world.rows("select sum(events) from test.weeks").await, ["210"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_changes_and_is_refused_once_definitions_are_others() {
    let world = World::first_tables().await;
    let less = COUNTS.replace("count(*) as events", "count(*) as rows");
    let weeks = WEEKS.replace("sum(events)", "sum(rows)");
    let mut order = order("", &[("counts.yaml", &less), ("weeks.yaml", &weeks)]);
    let plan = api::show_plan(&world.cluster, &world.sql, &order).await.unwrap();
    let counts = serde_json::to_value(&plan.tables[0]).unwrap();
    let told = ["change", "columns_added", "columns_lost", "affects"].map(|key| counts[key].to_string());
    assert_eq!(told, [r#""breaking""#, r#"["rows"]"#, r#"["events"]"#, r#"["test.weeks"]"#]);
    assert!(counts["windows"].as_u64().unwrap() >= 20, "those without rows, up to now, count too");
    assert!(plan.changes && plan.problems.is_empty());
    // Somebody applies something else meanwhile.
    world.apply(&[("counts.yaml", &COUNTS.replace("count(*)", "count(*) * 2")), ("weeks.yaml", WEEKS)]).await;
    order.base = Some(plan.base);
    let refused = api::apply(&world.cluster, &world.sql, &order).await.unwrap_err();
    assert!(refused.kind == ErrorKind::FailedPrecondition && refused.message.contains("plan again"), "{refused}");
    let alone = Order { prune: true, ..self::order("", &[("counts.yaml", COUNTS)]) };
    let plan = api::show_plan(&world.cluster, &world.sql, &alone).await.unwrap();
    assert_eq!(serde_json::to_value(&plan.tables[1]).unwrap()["change"], "removed");
    world.order(&alone).await;
    assert!(world.cluster.table("test.weeks").is_err());
}
