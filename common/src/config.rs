//! Settings of the three roles, as they are defined, once: the comments, types and defaults here make the options of the
//! binary, their environment variables, the JSON schema and the commented YAML. Unknown keys are refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A master node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MasterConfig {
    /// Where its RPC listens. Port 0 takes a free one.
    #[serde(default = "master_listen")]
    pub listen: SocketAddr,
    /// The `host:port` that the other masters reach it at; default: the listening address.
    #[serde(default)]
    #[schemars(example = "master-0.stele:7700")]
    pub advertise: Option<String>,
    /// RPC addresses of other masters, `host:port`: with an empty data folder it joins their cluster. None: its
    /// folder is that of a member, or the one that the cluster was founded with.
    #[serde(default)]
    pub masters: Vec<String>,
    /// Folder of its Raft log, snapshots and node id. Never wiped under a running cluster.
    #[schemars(example = "/var/lib/stele/master")]
    pub data_dir: PathBuf,
    /// The object store of the cluster: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or a folder. Endpoint and credentials
    /// come from the usual environment variables (`AWS_…`, `GOOGLE_…`). A cluster has a prefix of its own.
    #[schemars(example = "s3://bucket/prefix")]
    pub store: String,
    /// Whether it splits, merges and moves tablets unasked. Tablets of dead and drained servers go on elsewhere in any case.
    #[serde(default = "yes")]
    pub automatic: bool,
    /// A tablet is split above this many bytes; in tables with few tablets earlier.
    #[serde(default = "default_split_bytes")]
    pub split_bytes: u64,
    /// A tablet is split above this many rows read and written a second, where several servers can share them.
    #[serde(default = "default_split_rows")]
    pub split_rows_per_second: u64,
    /// Moves a minute at most that only even servers out.
    #[serde(default = "default_moves")]
    pub moves_per_minute: usize,
    /// Moves, splits and merges at once, at most.
    #[serde(default = "default_procedures")]
    pub procedures_at_once: usize,
}

fn default_split_bytes() -> u64 {
    8 << 30
}

fn default_split_rows() -> u64 {
    50_000
}

fn default_moves() -> usize {
    20
}

fn default_procedures() -> usize {
    16
}

impl MasterConfig {
    /// A master that founds a cluster, with every other setting at its default.
    #[must_use]
    pub fn new(listen: SocketAddr, data_dir: PathBuf, store: String) -> Self {
        Self {
            listen,
            advertise: None,
            masters: Vec::new(),
            data_dir,
            store,
            automatic: true,
            split_bytes: default_split_bytes(),
            split_rows_per_second: default_split_rows(),
            moves_per_minute: default_moves(),
            procedures_at_once: default_procedures(),
        }
    }
}

/// Where a tablet server writes its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// Objects in the store: a commit costs one put, and any server can take over.
    #[default]
    Object,
    /// Files in its data folder: a commit costs one fdatasync, and tablets wait for that server when it is away.
    Disk,
}

/// A tablet server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TabletServerConfig {
    /// Where its RPC listens. Port 0 takes a free one.
    #[serde(default = "tabletserver_listen")]
    pub listen: SocketAddr,
    /// The `host:port` that others reach it at; default: the listening address.
    #[serde(default)]
    #[schemars(example = "tabletserver-0.stele:7710")]
    pub advertise: Option<String>,
    /// Folder of its id and its cache; with a log on disk, of its log, which belongs to this volume.
    #[schemars(example = "/var/lib/stele/server")]
    pub data_dir: PathBuf,
    /// The object store of the cluster, as the masters have it: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or a folder.
    #[schemars(example = "s3://bucket/prefix")]
    pub store: String,
    /// RPC addresses of the master nodes, `host:port`.
    #[schemars(example = ["master-0.stele:7700", "master-1.stele:7700", "master-2.stele:7700"])]
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
    #[schemars(example = 1_u64 << 30)]
    pub disk_cache_bytes: Option<u64>,
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn master_listen() -> SocketAddr {
    local(7700)
}

fn tabletserver_listen() -> SocketAddr {
    local(7710)
}

fn gateway_listen() -> SocketAddr {
    local(8080)
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where it listens, for REST and the Bigtable API alike. Port 0 takes a free one.
    #[serde(default = "gateway_listen")]
    pub listen: SocketAddr,
    /// RPC addresses of the master nodes, `host:port`.
    #[schemars(example = ["master-0.stele:7700", "master-1.stele:7700", "master-2.stele:7700"])]
    pub masters: Vec<String>,
    /// Whether it runs derived tables.
    #[serde(default = "yes")]
    pub runs: bool,
    /// Its name in run records; default: its listening address.
    #[serde(default)]
    #[schemars(example = "gateway-0")]
    pub name: Option<String>,
    /// Bytes of rows that it may hold together on their way to tablets; more are refused with 429 (`RESOURCE_EXHAUSTED`). More: a burst is taken in
    /// whole, and waits longer.
    #[serde(default = "default_write_buffer_bytes")]
    pub write_buffer_bytes: usize,
    /// Milliseconds after which a read of rows that is not answered is sent a second time, for one read in ten at most.
    /// Less: rare slow answers are hidden, at the cost of some more work. Default: never.
    #[serde(default)]
    #[schemars(example = 50_u64)]
    pub hedge_reads_after_ms: Option<u64>,
}

fn default_write_buffer_bytes() -> usize {
    256 << 20
}

fn yes() -> bool {
    true
}
