//! Settings of the three roles, read from a YAML file or built by `stele up`. Unknown keys are refused.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A master node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MasterConfig {
    /// Where its RPC listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The `host:port` that the other masters reach it at; default: the listening address.
    #[serde(default)]
    pub advertise: Option<String>,
    /// RPC addresses of other masters, `host:port`: an empty data folder joins their cluster. None: it founds one.
    #[serde(default)]
    pub masters: Vec<String>,
    /// Folder of its Raft log, snapshots and node id. Never wiped under a running cluster.
    pub data_dir: PathBuf,
    /// The object store of the cluster: `s3://…`, `gs://…` or a folder.
    pub store: String,
}

/// A tablet server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TabletServerConfig {
    /// Where its RPC listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The `host:port` that others reach it at; default: the listening address.
    #[serde(default)]
    pub advertise: Option<String>,
    /// Folder of its id, its log and its cache. The log belongs to this volume.
    pub data_dir: PathBuf,
    /// The object store of the cluster.
    pub store: String,
    /// RPC addresses of the master nodes, `host:port`.
    pub masters: Vec<String>,
    /// Bytes that all memtables may hold together: more memory, fewer and larger SSTables.
    #[serde(default = "default_memtable_bytes")]
    pub memtable_bytes: usize,
    /// Where its log lies. A server keeps the one that it began with.
    #[serde(default)]
    pub log: LogKind,
    /// Bytes of decoded blocks kept in memory: more memory, fewer reads from disk and object store.
    #[serde(default = "default_cache_bytes")]
    pub cache_bytes: u64,
    /// Bytes under `data_dir` that keep what was read from the object store; 0 for none, else at least 64 MiB. Default:
    /// 1 GiB, but none if the store is a folder, which is as near.
    #[serde(default)]
    pub disk_cache_bytes: Option<u64>,
}

/// Where a tablet server logs what it has not flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// On its volume: a write is durable after one fsync, and waits for that volume if the server is lost.
    #[default]
    Disk,
    /// In the object store: a write takes a put, tens of milliseconds, and needs no volume to be read again.
    Object,
}

const DEFAULT_DISK_CACHE_BYTES: u64 = 1 << 30;

impl TabletServerConfig {
    /// Bytes of the cache on disk; `None` for no such cache.
    #[must_use]
    pub fn disk_cache(&self) -> Option<u64> {
        let is_remote = self.store.contains("://") && !self.store.starts_with("file://");
        let default = if is_remote { DEFAULT_DISK_CACHE_BYTES } else { 0 };
        Some(self.disk_cache_bytes.unwrap_or(default)).filter(|bytes| *bytes > 0)
    }
}

fn default_memtable_bytes() -> usize {
    256 << 20
}

fn default_cache_bytes() -> u64 {
    256 << 20
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where its HTTP listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// RPC addresses of the master nodes, `host:port`.
    pub masters: Vec<String>,
    /// Whether it runs derived tables.
    #[serde(default = "yes")]
    pub runs: bool,
    /// Its name in run records; default: its listening address.
    #[serde(default)]
    pub name: Option<String>,
}

fn yes() -> bool {
    true
}
