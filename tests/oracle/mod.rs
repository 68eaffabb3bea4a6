//! The oracle of the tests on real data: known answers, and derived tables against their SQL run at once.

mod example;
mod grid;

pub use example::Example;
pub use grid::Grid;

use crate::support::{Cluster, Finished, data_dir};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// An example project on a cluster of its own, with the data set that it is for.
pub struct Trial {
    cluster: Cluster,
    example: Example,
    data: PathBuf,
    began: Instant,
}

impl Trial {
    /// Starts a cluster with the example's sources; `None`, said on stdout, if there is no data.
    pub fn start(test: &str, example: &str, data: &str) -> Option<Self> {
        let data = data_dir(test)?.join(data);
        // A folder that was named but lacks the set is a mistake, not a reason to skip.
        assert!(data.is_dir(), "{} is no folder", data.display());
        let trial = Self { cluster: Cluster::up(), example: Example::named(example), data, began: Instant::now() };
        let sources = trial.example.sources();
        trial.run(["table", "create"].iter().map(OsStr::new).chain(sources.iter().map(|f| f.as_os_str())));
        Some(trial)
    }

    /// Runs a command to its good end; gives what it printed.
    #[track_caller]
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a (impl AsRef<OsStr> + ?Sized + 'a)>) -> String {
        Finished::of(self.cluster.stele(&[]).args(arguments.into_iter().map(AsRef::as_ref))).ok()
    }

    /// Loads files of the data set into a table, which hold all of it up to a time; gives what the command says of it.
    pub fn ingest(&self, table: &str, files: &[&str], complete_until: Option<&str>) -> String {
        let files: Vec<_> = files.iter().map(|f| self.data.join(f)).collect();
        let options = complete_until.map(|until| ["--complete-until", until]);
        let words = ["ingest", table].into_iter().chain(options.into_iter().flatten());
        let said = self.run(words.map(OsStr::new).chain(files.iter().map(|f| f.as_os_str())));
        self.note(&format!("{table}: {}", said.trim()));
        said
    }

    /// Loads a file whose lines have no id into a table that holds all of it up to a time.
    pub fn ingest_numbered(&self, table: &str, file: &str, column: &str, complete_until: &str) {
        let file = self.data.join(file);
        let options = ["ingest", table, "--number", column, "--complete-until", complete_until].map(OsStr::new);
        let said = self.run(options.into_iter().chain([file.as_os_str()]));
        self.note(&format!("{table}: {}", said.trim()));
    }

    /// Writes these rows.
    #[track_caller]
    pub fn write(&self, table: &str, rows: &[Value]) {
        let lines: String = rows.iter().map(|r| format!("{r}\n")).collect();
        let (status, answer) = self.cluster.http().ingest(table, &lines).unwrap();
        assert!(status == 200 && answer["rows"] == rows.len(), "{status}: {answer}");
    }

    /// Deletes the row of this key.
    #[track_caller]
    pub fn delete(&self, table: &str, key: &Value) {
        let body = serde_json::json!({ "rows": [{ "key": key, "delete": "row" }] });
        let (status, answer) = self.cluster.http().post(&format!("/v1/tables/{table}/rows"), &body).unwrap();
        assert_eq!(status, 200, "{answer}");
    }

    /// The answer to a query.
    #[track_caller]
    pub fn sql(&self, query: &str) -> Grid {
        Grid::csv(&self.run(["sql", "--format", "csv", query]))
    }

    /// The first value of an answer.
    #[track_caller]
    pub fn one(&self, query: &str) -> String {
        let answer = self.sql(query);
        answer.rows.first().unwrap_or_else(|| panic!("{query}: no row"))[0].clone()
    }

    /// Rows read over REST by key and time.
    pub fn rows(&self, table: &str, parameters: &[&str], columns: &[&str]) -> Grid {
        Grid::ndjson(&self.run([&["rows", "get", table], parameters].concat()), columns)
    }

    /// The known answer of a query.
    pub fn answer(&self, name: &str) -> Grid {
        let path = self.data.join("answers").join(name).with_extension("csv");
        Grid::csv(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// Asks every query of the example; each gives the known answer but for the columns `unasked`.
    pub fn assert_answers(&self, unasked: &[&str]) {
        for path in self.example.queries() {
            let name = stem(&path);
            let expected = self.answer(name);
            let asked: Vec<_> = expected.header.iter().filter(|c| !unasked.contains(&c.as_str())).collect();
            let options = ["sql", "--format", "csv", "-f"].map(OsStr::new);
            let found = Grid::csv(&self.run(options.into_iter().chain([path.as_os_str()])));
            found.assert_same(&expected.pick(&asked), name);
        }
        self.note("every query gives the known answer");
    }

    /// Applies the example's definitions and waits for them.
    pub fn derive(&self) {
        let folder = self.example.derived_folder();
        self.run([OsStr::new("derived"), OsStr::new("apply"), folder.as_os_str()]);
        self.wait_fresh();
    }

    /// Waits until all derived tables are fresh.
    pub fn wait_fresh(&self) {
        self.run(["derived", "status", "--wait"]);
        self.note("all derived tables are fresh");
    }

    /// Every derived table holds what its SQL gives over the whole of its inputs.
    pub fn assert_derived(&self, when: &str) {
        for definition in self.example.definitions() {
            let expected = self.sql(&definition.at_once());
            assert!(!expected.rows.is_empty(), "{} is empty, which proves nothing", definition.name);
            let found = self.sql(&definition.stored());
            found.pick(&expected.header).assert_same(&expected, &format!("{} {when}", definition.name));
        }
        self.note(&format!("all derived tables equal their SQL {when}"));
    }

    /// Says how long it took so far.
    fn note(&self, what: &str) {
        println!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).unwrap()
}
