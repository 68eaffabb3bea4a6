//! A role's settings: built-in defaults, over them the `--config` file, over it the environment, over it options.

use anyhow::{Context, Result, anyhow};
use clap::Args;
use common::config::{GatewayConfig, MasterConfig, TabletServerConfig};
use serde::{Serialize, de::DeserializeOwned};
use serde_yaml_ng::{Mapping, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Options of `stele master`.
#[derive(Debug, Args, Serialize)]
pub struct MasterArgs {
    /// YAML file with the same settings.
    #[arg(long, env = "STELE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Where its RPC listens [default: 127.0.0.1:7700].
    #[arg(long, env = "STELE_LISTEN")]
    listen: Option<SocketAddr>,
    /// The host:port that the other masters reach it at [default: the listening address].
    #[arg(long, env = "STELE_ADVERTISE")]
    advertise: Option<String>,
    /// RPC addresses of other masters, host:port, separated by commas: an empty data folder joins their cluster [default:
    /// none, an empty one founds a cluster].
    #[arg(long, env = "STELE_MASTERS", value_delimiter = ',')]
    masters: Option<Vec<String>>,
    /// Folder of its Raft log and node id.
    #[arg(long, env = "STELE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The cluster's object store: s3://…, gs://… or a folder.
    #[arg(long, env = "STELE_STORE")]
    store: Option<String>,
}

/// Options of `stele tabletserver`.
#[derive(Debug, Args, Serialize)]
pub struct TabletServerArgs {
    /// YAML file with the same settings.
    #[arg(long, env = "STELE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Where its RPC listens [default: 127.0.0.1:7710].
    #[arg(long, env = "STELE_LISTEN")]
    listen: Option<SocketAddr>,
    /// The host:port that others reach it at [default: the listening address].
    #[arg(long, env = "STELE_ADVERTISE")]
    advertise: Option<String>,
    /// Folder of its id and its cache, and of its log if that is on disk.
    #[arg(long, env = "STELE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The cluster's object store: s3://…, gs://… or a folder.
    #[arg(long, env = "STELE_STORE")]
    store: Option<String>,
    /// RPC addresses of the masters, host:port, separated by commas.
    #[arg(long, env = "STELE_MASTERS", value_delimiter = ',')]
    masters: Option<Vec<String>>,
    /// Where it writes its log: in the object store, so that others take over at once, or on its own disk [default: object].
    #[arg(long, env = "STELE_LOG", value_parser = ["object", "disk"])]
    log: Option<String>,
    /// Bytes that all memtables may hold together.
    #[arg(long, env = "STELE_MEMTABLE_BYTES")]
    memtable_bytes: Option<usize>,
    /// Bytes of decoded blocks kept in memory.
    #[arg(long, env = "STELE_CACHE_BYTES")]
    cache_bytes: Option<u64>,
    /// Bytes of the data folder that keep what was read from the object store; 0 for none [default: 1 GiB, none if the
    /// store is a folder].
    #[arg(long, env = "STELE_DISK_CACHE_BYTES")]
    disk_cache_bytes: Option<u64>,
}

/// Options of `stele gateway`.
#[derive(Debug, Args, Serialize)]
pub struct GatewayArgs {
    /// YAML file with the same settings.
    #[arg(long, env = "STELE_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Where its HTTP listens [default: 127.0.0.1:8080].
    #[arg(long, env = "STELE_LISTEN")]
    listen: Option<SocketAddr>,
    /// RPC addresses of the masters, host:port, separated by commas.
    #[arg(long, env = "STELE_MASTERS", value_delimiter = ',')]
    masters: Option<Vec<String>>,
    /// Whether it runs derived tables [default: true].
    #[arg(long, env = "STELE_RUNS")]
    runs: Option<bool>,
    /// Its name in run records [default: its listening address].
    #[arg(long, env = "STELE_NAME")]
    name: Option<String>,
}

impl MasterArgs {
    /// The settings of a master.
    pub fn config(&self) -> Result<MasterConfig> {
        resolve(self.config.as_deref(), self, "127.0.0.1:7700")
    }
}

impl TabletServerArgs {
    /// The settings of a tablet server.
    pub fn config(&self) -> Result<TabletServerConfig> {
        resolve(self.config.as_deref(), self, "127.0.0.1:7710")
    }
}

impl GatewayArgs {
    /// The settings of a gateway.
    pub fn config(&self) -> Result<GatewayConfig> {
        resolve(self.config.as_deref(), self, "127.0.0.1:8080")
    }
}

fn resolve<T: DeserializeOwned>(file: Option<&Path>, options: &impl Serialize, listen: &str) -> Result<T> {
    let mut settings = match file {
        Some(path) => read_file(path)?,
        None => Mapping::new(),
    };
    let Value::Mapping(options) = serde_yaml_ng::to_value(options)? else {
        return Err(anyhow!("options are not a map"));
    };
    settings.extend(options.into_iter().filter(|(_, v)| !v.is_null()));
    settings.entry("listen".into()).or_insert_with(|| listen.into());
    let place = file.map_or_else(|| "settings".to_owned(), |path| format!("settings of '{}'", path.display()));
    serde_yaml_ng::from_value(Value::Mapping(settings)).map_err(|e| explain(&e.to_string())).context(place)
}

fn read_file(path: &Path) -> Result<Mapping> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    // An empty file is a file without settings.
    let settings: Option<Mapping> = serde_yaml_ng::from_str(&text).with_context(|| format!("'{}'", path.display()))?;
    Ok(settings.unwrap_or_default())
}

/// A missing setting can be given in three ways: say them.
fn explain(message: &str) -> anyhow::Error {
    match message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        Some((name, _)) => {
            let (option, variable) = (name.replace('_', "-"), name.to_uppercase());
            anyhow!("'{name}' is missing: give --{option}, set STELE_{variable}, or write it in the --config file")
        }
        None => anyhow!("{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> MasterArgs {
        MasterArgs { config: None, listen: None, advertise: None, masters: None, data_dir: None, store: None }
    }

    #[test]
    fn options_win_over_the_file_and_defaults_fill_in() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master.yaml");
        std::fs::write(&file, "data_dir: /a\nstore: /b\n").unwrap();
        let config = MasterArgs { config: Some(file), store: Some("/c".into()), ..args() }.config().unwrap();
        assert_eq!((config.data_dir, config.store.as_str(), config.listen.port()), ("/a".into(), "/c", 7700));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let missing = format!("{:#}", args().config().unwrap_err());
        assert!(missing.contains("STELE_DATA_DIR") || missing.contains("STELE_STORE"), "{missing}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master.yaml");
        std::fs::write(&file, "data_dir: /a\nstore: /b\nsotre: /c\n").unwrap();
        let unknown = format!("{:#}", MasterArgs { config: Some(file.clone()), ..args() }.config().unwrap_err());
        assert!(unknown.contains("sotre") && unknown.contains(&file.display().to_string()), "{unknown}");
    }
}
