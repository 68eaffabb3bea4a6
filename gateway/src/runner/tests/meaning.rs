//! What derived tables mean, held against random projects and random changes: at every publish a window equals its SQL at
//! the input versions that its run recorded, and once nothing goes on any more each table equals its SQL over all of its
//! inputs.
//!
//! `STELE_SEED` runs one seed, `STELE_SEEDS` as many as it says; a failure names its own.

use super::super::Runner;
use super::grammar::{Defined, project};
use super::world::{DEADLINE, Event, World};
use common::catalog::RunRecord;
use common::ids::Seq;
use common::time::Micros;
use common::version::VersionMap;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;
use derived::document::{Artifact, Query, Strategy};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Seeds of one run of the tests, unless the environment says otherwise.
const SEEDS: [u64; 2] = [3, 4];
/// Changes after each of which all is compared.
const STEPS: usize = 5;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("STELE_SEED"), number("STELE_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(many)) => (0..many).collect(),
        (None, None) => SEEDS.to_vec(),
    }
}

/// What is compared of one table.
struct Meaning<'a> {
    world: &'a World,
    artifact: Artifact,
}

impl Meaning<'_> {
    fn of<'a>(world: &'a World, name: &str) -> Meaning<'a> {
        let catalog = world.cluster.catalog();
        let definition = catalog.definition(name).unwrap();
        Meaning { world, artifact: Artifact::from_document(&definition.document).unwrap() }
    }

    fn columns(&self) -> String {
        let published: Vec<_> =
            self.artifact.spec.key.iter().map(|p| &p.name).chain(self.artifact.spec.columns.iter().map(|c| &c.name)).collect();
        published.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }

    /// Rows of a query with these tables at these versions, sorted.
    async fn rows(&self, sql: &str, versions: &BTreeMap<String, u64>) -> Vec<String> {
        let pin = |(name, version): (&String, &u64)| (self.world.cluster.table(name).unwrap().id, VersionMap::whole(Seq(*version)));
        let context = self.world.sql.context(versions.iter().map(pin).collect::<HashMap<_, _>>()).unwrap();
        let batches =
            context.sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let row =
            |b: &RecordBatch, row: usize| b.columns().iter().map(|c| array_value_to_string(c, row).unwrap()).collect::<Vec<_>>().join("|");
        let mut rows: Vec<_> = batches.iter().flat_map(|b| (0..b.num_rows()).map(|i| row(b, i))).collect();
        rows.sort();
        rows
    }

    fn inside(&self, (start, end): (Micros, Micros), of: &str) -> String {
        let name = &self.artifact.window.as_ref().unwrap().time_column;
        let text = |t: Micros| t.to_rfc3339().chars().take(10).collect::<String>();
        format!("select {} from ({of}) q where \"{name}\" >= date '{}' and \"{name}\" < date '{}'", self.columns(), text(start), text(end))
    }

    /// What a run published, against its SQL at the versions that it recorded.
    async fn check_run(&self, run: &RunRecord) {
        let inputs: BTreeMap<String, u64> =
            run.inputs.iter().map(|i| i.split_once('@').unwrap()).map(|(n, v)| (n.to_owned(), v.parse().unwrap())).collect();
        let own = BTreeMap::from([(run.table.clone(), run.version.0)]);
        let whole = format!("select {} from {}", self.columns(), run.table);
        let what = format!("{} at version {} ({}; {})", run.table, run.version, run.reason, run.path);
        if self.artifact.window.is_none() {
            let sql = format!("select {} from ({}) q", self.columns(), self.artifact.sql);
            assert_eq!(self.rows(&whole, &own).await, self.rows(&sql, &inputs).await, "{what}");
            return;
        }
        for &range in run.windows.ranges() {
            for Query { sql, windows } in self.artifact.queries(Some(range)) {
                let windows = windows.unwrap();
                let (is, means) = (self.inside(windows, &whole), self.inside(windows, &sql));
                assert_eq!(self.rows(&is, &own).await, self.rows(&means, &inputs).await, "{what}, {} to {}", windows.0, windows.1);
            }
        }
    }

    /// What the table holds, against its SQL over all of its inputs.
    async fn check_now(&self, what: &str) {
        let name = &self.artifact.name;
        let is = self.rows(&format!("select {} from {name}", self.columns()), &BTreeMap::new()).await;
        let sql = match &self.artifact.strategy {
            Strategy::Merge(_) => format!("select \"user\", max(day) as day, sum(n) as n from ({}) q group by 1", self.artifact.sql),
            _ => self.artifact.sql.clone(),
        };
        let means = self.rows(&format!("select {} from ({sql}) q", self.columns()), &BTreeMap::new()).await;
        assert_eq!(is, means, "{name} {what}: {}", self.artifact.sql);
    }
}

/// A project under way.
struct Life {
    world: World,
    tables: Vec<Defined>,
    events: BTreeMap<(String, i64, i64), Event>,
    checked: BTreeSet<u64>,
    random: StdRng,
}

impl Life {
    async fn begin(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let levels = random.random_range(3..5);
        let tables = project(&mut random, levels);
        let mut life = Self { world: World::new().await, tables, events: BTreeMap::new(), checked: BTreeSet::new(), random };
        let first = (0..40).map(|_| life.event()).collect();
        life.put(first).await;
        let users: Vec<_> = (0..4).map(|u| (format!("u{u}"), Some(format!("c{}", u % 3)))).collect();
        life.world.put_users(&users).await;
        // Nothing is complete after it: a table that reads itself runs window by window.
        life.world.complete_until(24 * 12).await;
        life.apply().await;
        life
    }

    fn event(&mut self) -> Event {
        let random = &mut self.random;
        (format!("u{}", random.random_range(0..5)), random.random_range(0..24 * 9), random.random_range(0..20), random.random_range(0..8))
    }

    async fn put(&mut self, events: Vec<Event>) {
        self.world.put(&events).await;
        self.events.extend(events.into_iter().map(|e| ((e.0.clone(), e.1, e.2), e)));
    }

    async fn apply(&self) {
        let files: Vec<_> = self.tables.iter().map(Defined::file).collect();
        self.world.apply(&files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect::<Vec<_>>()).await;
    }

    fn pick(&mut self) -> Option<Event> {
        let at = self.random.random_range(0..self.events.len().max(1));
        self.events.values().nth(at).cloned()
    }

    /// Some changes of all kinds, while runs of earlier ones may be under way.
    async fn change(&mut self) {
        for _ in 0..self.random.random_range(1..4) {
            match self.random.random_range(0..10) {
                0..=2 => {
                    let late = (0..self.random.random_range(1..5)).map(|_| self.event()).collect();
                    self.put(late).await;
                }
                3 | 4 => {
                    let corrected: Vec<_> = self.pick().into_iter().map(|e| (e.0, e.1, e.2, e.3 + 1)).collect();
                    self.put(corrected).await;
                }
                5 | 6 => {
                    let Some(gone) = self.pick() else { continue };
                    self.world.delete(std::slice::from_ref(&gone)).await;
                    self.events.remove(&(gone.0, gone.1, gone.2));
                }
                7 => {
                    let country = self.random.random_bool(0.8).then(|| format!("c{}", self.random.random_range(0..4)));
                    self.world.put_users(&[(format!("u{}", self.random.random_range(0..5)), country)]).await;
                }
                8 => {
                    // What lives under another definition is checked before it changes.
                    self.settle("before a change of definitions").await;
                    let at = self.random.random_range(0..self.tables.len());
                    self.tables[at].vary(&mut self.random);
                    self.apply().await;
                }
                _ => {
                    // Stopped in the middle of whatever it does; another one goes on.
                    if let Some(runner) = self.world.runner.take() {
                        runner.stop().await;
                    }
                    self.world.runner = Some(Runner::start(self.world.cluster.clone(), self.world.sql.clone(), "next".into()));
                }
            }
        }
    }

    async fn settle(&mut self, what: &str) {
        self.world.fresh().await;
        for run in self.world.runs().await {
            if run.status == "published" && self.checked.insert(run.run.0) {
                let catalog = self.world.cluster.catalog();
                let same = catalog.definition(&run.table).is_some_and(|d| d.fingerprint == run.fingerprint);
                let known = run.inputs.iter().all(|i| i.split_once('@').is_some_and(|(name, _)| catalog.table(name).is_some()));
                // What was built beside production has another name since it took its place.
                if !same || !known {
                    continue;
                }
                let meaning = Meaning::of(&self.world, &run.table);
                if !matches!(meaning.artifact.strategy, Strategy::Merge(_)) {
                    meaning.check_run(&run).await;
                }
            }
        }
        for table in &self.tables {
            Meaning::of(&self.world, &format!("test.{}", table.name)).check_now(what).await;
        }
    }
}

/// Names the seed of a test that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was STELE_SEED={}", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_publish_a_window_equals_its_sql_and_in_the_end_each_table_a_rebuild() {
    for seed in seeds() {
        let _named = Seed(seed);
        let deadline = DEADLINE * 2;
        let all = async {
            let mut life = Life::begin(seed).await;
            life.settle("at first").await;
            for step in 0..STEPS {
                life.change().await;
                life.settle(&format!("after step {step} of seed {seed}")).await;
            }
        };
        tokio::time::timeout(deadline, all).await.unwrap_or_else(|_| panic!("seed {seed} does not settle"));
    }
}
