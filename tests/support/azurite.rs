//! A server that speaks Azure's language: Azurite, from npm, as a process on a free port. It keeps its blobs in memory, and
//! create-if-absent and compare-and-swap atomically.

use super::ministack::Bucket;
use super::process::Logged;
use super::tools::{self, block_on, lasting_port, run};
use super::wait_for;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What is installed.
const PACKAGE: &str = "azurite";
const VERSION: &str = "3.35.0";

/// Makes a container, as Azure has it: signed with the account's key, which all Azurites share.
const MAKE_CONTAINER: &str = r#"
const [port, container] = process.argv.slice(1), account = 'devstoreaccount1', date = new Date().toUTCString();
const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';
const version = '2021-08-06', path = `/${account}/${container}`;
const text = `PUT${'\n'.repeat(12)}x-ms-date:${date}\nx-ms-version:${version}\n/${account}${path}\nrestype:container`;
const signed = require('crypto').createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
const headers = { 'x-ms-date': date, 'x-ms-version': version, authorization: `SharedKey ${account}:${signed}`, 'content-length': 0 };
const options = { host: '127.0.0.1', port, path: `${path}?restype=container`, method: 'PUT', headers };
require('http').request(options, (answer) => {
  if (answer.statusCode !== 201) { console.error(`status ${answer.statusCode}`); process.exit(1); }
  answer.resume();
}).end();
"#;

/// Killed when dropped.
pub struct Azurite {
    _dir: TempDir,
    port: u16,
    child: Child,
}

impl Azurite {
    /// Ready to be asked; `None` where npm or the package cannot be had, having said that `test` is skipped.
    pub fn start(test: &str) -> Option<Self> {
        let binary = match installed() {
            Ok(binary) => binary,
            Err(why) => {
                super::skipped(test, &format!("no {PACKAGE} {VERSION}: {why}"));
                return None;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        let port = lasting_port();
        let child = launch(&binary, port, dir.path());
        let this = Self { _dir: dir, port, child };
        wait_for("Azurite to be ready", || block_on(reqwest::get(format!("{}/devstoreaccount1", this.endpoint()))).ok().map(drop));
        Some(this)
    }

    /// Makes a container.
    pub fn container(&self, name: &str) -> Bucket {
        run(Command::new("node").args(["-e", MAKE_CONTAINER, &self.port.to_string(), name])).unwrap();
        Bucket::azure(&self.endpoint(), name)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(binary: &Path, port: u16, dir: &Path) -> Child {
    let mut command = Command::new("node");
    command.arg(binary).args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]);
    command.current_dir(dir).stdin(Stdio::null()).logged(&dir.join("azurite.log")).spawn().unwrap()
}

/// The program in a folder of its own, made when first needed; or why it cannot be had.
fn installed() -> Result<PathBuf, String> {
    let folder = tools::folder(&format!("{PACKAGE}-{VERSION}"), |folder| {
        let quiet = ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"];
        run(Command::new("npm").args(quiet).arg(folder).arg(format!("{PACKAGE}@{VERSION}")))
    })?;
    Ok(folder.join("node_modules").join(PACKAGE).join("dist/src/blob/main.js"))
}
