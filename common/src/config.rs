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
    /// What it does with tablets by itself.
    #[serde(default)]
    pub tablets: Policy,
}

/// What the leader does with tablets by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Whether it splits, merges and moves tablets unasked. Tablets of dead and drained servers go on elsewhere in any case.
    pub automatic: bool,
    /// A tablet is split above this many bytes; tables with few tablets split earlier.
    pub split_bytes: u64,
    /// A tablet is split above this many rows read and written a second.
    pub split_rows_per_second: u64,
    /// Moves for balance a minute, at most.
    pub moves_per_minute: usize,
    /// Procedures under way at once, at most.
    pub at_once: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { automatic: true, split_bytes: 8 << 30, split_rows_per_second: 50_000, moves_per_minute: 20, at_once: 16 }
    }
}

/// Where a tablet server writes its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// Objects in the store: a commit costs one put, and any server can take over.
    #[default]
    Object,
    /// Files in its data folder: a commit costs one fdatasync, and tablets wait for that server when it is away.
    Disk,
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
    /// Folder of its id and its cache; with a log on disk, of its log, which belongs to this volume.
    pub data_dir: PathBuf,
    /// The object store of the cluster.
    pub store: String,
    /// RPC addresses of the master nodes, `host:port`.
    pub masters: Vec<String>,
    /// Where it writes its log. A server keeps the kind that it began with.
    #[serde(default)]
    pub log: LogKind,
    /// Bytes that all memtables may hold together: more memory, fewer and larger SSTables.
    #[serde(default = "default_memtable_bytes")]
    pub memtable_bytes: usize,
    /// Bytes of decoded blocks kept in memory: more memory, fewer reads from disk and object store.
    #[serde(default = "default_cache_bytes")]
    pub cache_bytes: u64,
    /// Bytes under `data_dir` that keep what was read from the object store; 0 for none, else at least 64 MiB. Default:
    /// 1 GiB, but none if the store is a folder, which is as near.
    #[serde(default)]
    pub disk_cache_bytes: Option<u64>,
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
