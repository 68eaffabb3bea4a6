//! A real S3-compatible server: MiniStack, from PyPI, as a process on a free port.
//!
//! It keeps create-if-absent and compare-and-swap atomically, and its objects over a SIGKILL.

use super::process::Logged;
use super::tools::{self, block_on, lasting_port, run};
use super::wait_for;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What is installed.
const PACKAGE: &str = "ministack";
const VERSION: &str = "1.5.33";

/// Killed when dropped.
pub struct Ministack {
    dir: TempDir,
    binary: PathBuf,
    port: u16,
    child: Child,
}

/// A bucket, and what a process must find in its environment to reach it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// For `--store`.
    pub url: String,
    /// Variables as the store's own tools read them.
    pub env: Vec<(String, String)>,
}

impl Bucket {
    /// A folder of this machine.
    pub fn folder(path: &Path) -> Self {
        Self { url: path.display().to_string(), env: Vec::new() }
    }

    /// A bucket of an S3 server at `endpoint`, for example `http://127.0.0.1:9000`.
    pub fn s3(endpoint: &str, bucket: &str) -> Self {
        let settings = [
            ("AWS_ENDPOINT", endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let env = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { url: format!("s3://{bucket}/cluster"), env }
    }

    /// A container of an Azurite at `endpoint`, which has a known account.
    pub fn azure(endpoint: &str, container: &str) -> Self {
        let settings = [("AZURE_STORAGE_USE_EMULATOR", "true"), ("AZURITE_BLOB_STORAGE_URL", endpoint)];
        let env = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { url: format!("az://{container}/cluster"), env }
    }
}

impl Ministack {
    /// Ready to be asked; `None` where Python or the package cannot be had, having said that `test` is skipped.
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
        let this = Self { dir, binary, port, child };
        this.wait_until_ready();
        Some(this)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str) -> Bucket {
        let made = block_on(async { reqwest::Client::new().put(format!("{}/{name}", self.endpoint())).send().await }).unwrap();
        assert!(made.status().is_success(), "bucket {name}: {}", made.status());
        Bucket::s3(&self.endpoint(), name)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, on what it had stored.
    pub fn restart(&mut self) {
        self.child = launch(&self.binary, self.port, self.dir.path());
        self.wait_until_ready();
    }

    /// Fails the test if it takes too long; it is ended then as ever.
    fn wait_until_ready(&self) {
        let health = format!("{}/_ministack/health", self.endpoint());
        wait_for("MiniStack to be ready", || {
            block_on(async { reqwest::get(&health).await.ok().filter(|r| r.status().is_success()) }).map(drop)
        });
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(binary: &Path, port: u16, dir: &Path) -> Child {
    let mut command = Command::new(binary);
    command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
    command.env("S3_PERSIST", "1").env("S3_DATA_DIR", dir.join("objects")).env("LOG_LEVEL", "WARNING").stdin(Stdio::null());
    command.logged(&dir.join("ministack.log")).spawn().unwrap()
}

/// The program in a virtual environment of its own, made when first needed; or why it cannot be had.
fn installed() -> Result<PathBuf, String> {
    let folder = tools::folder(&format!("{PACKAGE}-{VERSION}"), |folder| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(folder.join("venv/bin/python")).args(pip).arg(format!("{PACKAGE}=={VERSION}")))
    })?;
    Ok(folder.join("venv/bin").join(PACKAGE))
}
