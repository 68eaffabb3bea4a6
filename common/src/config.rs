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
}

fn default_memtable_bytes() -> usize {
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
