use super::http::Http;
use super::process::{Finished, Running, stele};
use super::wait_for;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// One of three processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    TabletServer,
    Gateway,
}

/// A cluster of the built binary on a folder of its own: `stele up`, or the three roles as processes.
/// A restarted process listens where it did before, so that others find it again.
pub struct Cluster {
    dir: TempDir,
    processes: Processes,
}

enum Processes {
    Up { process: Running },
    Three { master: Running, tabletserver: Running, gateway: Running },
}

const ANY: &str = "127.0.0.1:0";

impl Cluster {
    /// `stele up`, ready to be written.
    pub fn up() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = Running::start(&mut up_command(&dir, ANY), &dir.path().join("up.log"));
        let cluster = Self { dir, processes: Processes::Up { process } };
        cluster.wait_ready();
        cluster
    }

    /// A master, a tablet server and a gateway as processes.
    pub fn three() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut init = stele();
        init.args(["master", "init", "--data-dir"]).arg(dir.path().join("master")).arg("--store").arg(dir.path().join("bucket"));
        Finished::of(&mut init).ok();
        let master = start_master(&dir, ANY);
        let tabletserver = start_tabletserver(&dir, ANY, &master.address);
        let gateway = start_gateway(&dir, ANY, &master.address);
        let cluster = Self { dir, processes: Processes::Three { master, tabletserver, gateway } };
        cluster.wait_ready();
        cluster
    }

    /// Where HTTP listens.
    pub fn url(&self) -> String {
        let address = match &self.processes {
            Processes::Up { process } => &process.address,
            Processes::Three { gateway, .. } => &gateway.address,
        };
        format!("http://{address}")
    }

    /// A client of the gateway.
    pub fn http(&self) -> Http {
        Http::new(&self.url())
    }

    /// The binary as a client of this cluster.
    pub fn stele(&self, arguments: &[&str]) -> Command {
        let mut command = stele();
        command.args(arguments).env("STELE_URL", self.url());
        command
    }

    /// The folder of everything.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// SIGKILL to a role; to the one process of `up` for any role.
    pub fn kill(&mut self, role: Role) {
        self.process(role).kill();
    }

    /// SIGTERM to a role, and a clean end.
    pub fn end(&mut self, role: Role) {
        self.process(role).end();
    }

    /// Starts a killed role again on its folder.
    pub fn restart(&mut self, role: Role) {
        let address = self.process(role).address.clone();
        match (&mut self.processes, role) {
            (Processes::Up { process }, _) => {
                *process = Running::start(&mut up_command(&self.dir, &address), &self.dir.path().join("up.log"))
            }
            (Processes::Three { master, .. }, Role::Master) => *master = start_master(&self.dir, &address),
            (Processes::Three { master, tabletserver, .. }, Role::TabletServer) => {
                *tabletserver = start_tabletserver(&self.dir, &address, &master.address);
            }
            (Processes::Three { master, gateway, .. }, Role::Gateway) => *gateway = start_gateway(&self.dir, &address, &master.address),
        }
    }

    /// Waits until a query of a system table is answered: all roles have found each other.
    pub fn wait_ready(&self) {
        let http = self.http();
        wait_for("a first answer to SQL", || http.try_sql("select count(*) as n from system.runs").ok());
    }

    fn process(&mut self, role: Role) -> &mut Running {
        match (&mut self.processes, role) {
            (Processes::Up { process }, _) => process,
            (Processes::Three { master, .. }, Role::Master) => master,
            (Processes::Three { tabletserver, .. }, Role::TabletServer) => tabletserver,
            (Processes::Three { gateway, .. }, Role::Gateway) => gateway,
        }
    }
}

fn up_command(dir: &TempDir, listen: &str) -> Command {
    let mut command = stele();
    command.arg("up").args(["--listen", listen, "--dir"]).arg(dir.path().join("data"));
    command
}

fn start_master(dir: &TempDir, listen: &str) -> Running {
    let mut command = stele();
    command.args(["master", "--listen", listen, "--data-dir"]).arg(dir.path().join("master"));
    command.arg("--store").arg(dir.path().join("bucket"));
    Running::start(&mut command, &dir.path().join("master.log"))
}

/// From a configuration file and the environment, as in a container.
fn start_tabletserver(dir: &TempDir, listen: &str, master: &str) -> Running {
    let config = dir.path().join("tabletserver.yaml");
    let (data, bucket) = (dir.path().join("server"), dir.path().join("bucket"));
    let (data, bucket) = (data.display(), bucket.display());
    // So small that the tests' few rows are flushed again and again.
    let settings = format!("data_dir: {data}\nstore: {bucket}\nmasters: [\"{master}\"]\nmemtable_bytes: 100000\n");
    std::fs::write(&config, settings).unwrap();
    let mut command = stele();
    command.arg("tabletserver").arg("--config").arg(config).env("STELE_LISTEN", listen);
    Running::start(&mut command, &dir.path().join("tabletserver.log"))
}

fn start_gateway(dir: &TempDir, listen: &str, master: &str) -> Running {
    let mut command = stele();
    command.arg("gateway").env("STELE_LISTEN", listen).env("STELE_MASTERS", master);
    Running::start(&mut command, &dir.path().join("gateway.log"))
}
