use super::http::Http;
use super::ministack::Bucket;
use super::process::{Finished, Running, stele};
use super::wait_for;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const ANY: &str = "127.0.0.1:0";
/// Memtables so small that the tests' few rows are flushed again and again.
const SMALL: Option<u64> = Some(100_000);

/// Several masters and tablet servers that log to the store, and one gateway, each a process on one folder.
pub struct Many {
    dir: TempDir,
    bucket: Bucket,
    /// Of a tablet server; `None`: as usual.
    memtable_bytes: Option<u64>,
    /// The first one has founded the cluster.
    pub masters: Vec<Running>,
    pub servers: Vec<Running>,
    pub gateway: Running,
}

impl Many {
    /// Ready to be written, on a folder.
    pub fn start(masters: usize, servers: usize) -> Self {
        Self::with_memtables(SMALL, None, masters, servers)
    }

    /// Ready to be written, on this bucket or a folder, with memtables of a size; `None`: as users have them.
    pub fn with_memtables(memtable_bytes: Option<u64>, bucket: Option<Bucket>, masters: usize, servers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bucket = bucket.unwrap_or_else(|| Bucket::folder(&dir.path().join("bucket")));
        Self::start_in(dir, masters, servers, bucket, memtable_bytes)
    }

    /// Ready to be written, on this bucket.
    pub fn start_on(bucket: Bucket, masters: usize, servers: usize) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), masters, servers, bucket, SMALL)
    }

    fn start_in(dir: TempDir, masters: usize, servers: usize, bucket: Bucket, memtable_bytes: Option<u64>) -> Self {
        let mut init = stele();
        init.args(["master", "init", "--data-dir"]).arg(dir.path().join("master0"));
        Finished::of(with_store(&mut init, &bucket)).ok();
        let mut group: Vec<Running> = Vec::new();
        for n in 0..masters {
            group.push(master(&dir, &bucket, n, ANY, &addresses(&group)));
        }
        let known = addresses(&group);
        let servers = (0..servers).map(|n| tabletserver(&dir, (&bucket, memtable_bytes), n, ANY, &known)).collect();
        let mut command = stele();
        command.arg("gateway").args(["--listen", ANY, "--masters", &known]);
        let gateway = Running::start(&mut command, &dir.path().join("gateway.log"));
        let cluster = Self { dir, bucket, memtable_bytes, masters: group, servers, gateway };
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

    /// What a tablet server has logged.
    pub fn server_log(&self, n: usize) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("server{n}.log"))).unwrap()
    }

    /// Fails the test unless all processes still run.
    #[track_caller]
    pub fn assert_runs(&mut self) {
        for (n, running) in self.masters.iter_mut().chain(&mut self.servers).chain([&mut self.gateway]).enumerate() {
            assert!(running.runs(), "process {n} of masters, tablet servers and gateway has ended");
        }
    }

    /// The cluster's object store.
    pub fn bucket(&self) -> PathBuf {
        self.dir.path().join("bucket")
    }

    /// Starts a killed master again, where it was.
    pub fn restart_master(&mut self, n: usize) {
        let address = self.masters[n].address.clone();
        self.masters[n] = master(&self.dir, &self.bucket, n, &address, "");
    }

    /// The folder of a master.
    pub fn master_folder(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("master{n}"))
    }

    /// What a master has logged.
    pub fn master_log(&self, n: usize) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("master{n}.log"))).unwrap()
    }

    /// Starts a killed master anew with an empty folder: it joins the others.
    pub fn replace_master(&mut self, n: usize) {
        let address = self.masters[n].address.clone();
        std::fs::remove_dir_all(self.master_folder(n)).unwrap();
        let others: Vec<_> = (0..self.masters.len()).filter(|other| *other != n).map(|other| self.masters[other].address.clone()).collect();
        self.masters[n] = master(&self.dir, &self.bucket, n, &address, &others.join(","));
    }

    /// `stele master restore` into the folder of a master.
    pub fn restore_master(&self, n: usize) -> Finished {
        let mut command = stele();
        command.args(["master", "restore", "--listen", &self.masters[n].address, "--data-dir"]).arg(self.master_folder(n));
        Finished::of(with_store(&mut command, &self.bucket))
    }

    /// Starts a killed tablet server again, where it was.
    pub fn restart_server(&mut self, n: usize) {
        let address = self.servers[n].address.clone();
        let settings = (&self.bucket, self.memtable_bytes);
        self.servers[n] = tabletserver(&self.dir, settings, n, &address, &addresses(&self.masters));
    }
}

fn addresses(running: &[Running]) -> String {
    running.iter().map(|r| r.address.clone()).collect::<Vec<_>>().join(",")
}

fn master(dir: &TempDir, bucket: &Bucket, n: usize, listen: &str, others: &str) -> Running {
    let mut command = stele();
    command.args(["master", "--listen", listen, "--data-dir"]).arg(dir.path().join(format!("master{n}")));
    if !others.is_empty() {
        command.args(["--masters", others]);
    }
    Running::start(with_store(&mut command, bucket), &dir.path().join(format!("master{n}.log")))
}

fn tabletserver(dir: &TempDir, (bucket, memtable_bytes): (&Bucket, Option<u64>), n: usize, listen: &str, masters: &str) -> Running {
    let mut command = stele();
    command.args(["tabletserver", "--listen", listen, "--masters", masters, "--data-dir"]).arg(dir.path().join(format!("server{n}")));
    if let Some(bytes) = memtable_bytes {
        command.args(["--memtable-bytes", &bytes.to_string()]);
    }
    Running::start(with_store(&mut command, bucket), &dir.path().join(format!("server{n}.log")))
}

fn with_store<'a>(command: &'a mut Command, bucket: &Bucket) -> &'a mut Command {
    command.args(["--store", &bucket.url]).envs(bucket.env.iter().map(|(name, value)| (name, value)))
}
