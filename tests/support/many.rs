use super::http::Http;
use super::process::{Running, stele};
use super::wait_for;
use std::path::PathBuf;
use tempfile::TempDir;

const ANY: &str = "127.0.0.1:0";

/// Several masters and tablet servers that log to the store, and one gateway, each a process on one folder.
pub struct Many {
    dir: TempDir,
    /// The first one has founded the cluster.
    pub masters: Vec<Running>,
    pub servers: Vec<Running>,
    gateway: Running,
}

impl Many {
    /// Ready to be written.
    pub fn start(masters: usize, servers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut group: Vec<Running> = Vec::new();
        for n in 0..masters {
            group.push(master(&dir, n, ANY, &addresses(&group)));
        }
        let known = addresses(&group);
        let servers = (0..servers).map(|n| tabletserver(&dir, n, ANY, &known)).collect();
        let mut command = stele();
        command.arg("gateway").args(["--listen", ANY, "--masters", &known]);
        let gateway = Running::start(&mut command, &dir.path().join("gateway.log"));
        let cluster = Self { dir, masters: group, servers, gateway };
        let http = cluster.http();
        wait_for("a first answer to SQL", || http.try_sql("select count(*) as n from system.runs").ok());
        cluster
    }

    /// Where HTTP listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.gateway.address)
    }

    /// A client of the gateway.
    pub fn http(&self) -> Http {
        Http::new(&self.url())
    }

    /// The folder of a tablet server.
    pub fn server_folder(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("server{n}"))
    }

    /// The cluster's object store.
    pub fn bucket(&self) -> PathBuf {
        self.dir.path().join("bucket")
    }

    /// Starts a killed master again, where it was.
    pub fn restart_master(&mut self, n: usize) {
        let address = self.masters[n].address.clone();
        self.masters[n] = master(&self.dir, n, &address, "");
    }

    /// Starts a killed tablet server again, where it was.
    pub fn restart_server(&mut self, n: usize) {
        let address = self.servers[n].address.clone();
        self.servers[n] = tabletserver(&self.dir, n, &address, &addresses(&self.masters));
    }
}

fn addresses(running: &[Running]) -> String {
    running.iter().map(|r| r.address.clone()).collect::<Vec<_>>().join(",")
}

fn master(dir: &TempDir, n: usize, listen: &str, others: &str) -> Running {
    let mut command = stele();
    command.args(["master", "--listen", listen, "--data-dir"]).arg(dir.path().join(format!("master{n}")));
    command.arg("--store").arg(dir.path().join("bucket"));
    if !others.is_empty() {
        command.args(["--masters", others]);
    }
    Running::start(&mut command, &dir.path().join(format!("master{n}.log")))
}

fn tabletserver(dir: &TempDir, n: usize, listen: &str, masters: &str) -> Running {
    let mut command = stele();
    command.args(["tabletserver", "--listen", listen, "--masters", masters, "--data-dir"]).arg(dir.path().join(format!("server{n}")));
    // So small that the tests' few rows are flushed again and again.
    command.arg("--store").arg(dir.path().join("bucket")).args(["--memtable-bytes", "100000"]);
    Running::start(&mut command, &dir.path().join(format!("server{n}.log")))
}
