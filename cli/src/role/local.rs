use super::lock::FolderLock;
use anyhow::{Context, Result};
use common::config::{GatewayConfig, LogKind, MasterConfig, TabletServerConfig};
use common::time::SystemClock;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// Bytes of all memtables: one process on a laptop.
const MEMTABLE_BYTES: usize = 64 << 20;
/// Bytes of decoded blocks in memory.
const CACHE_BYTES: u64 = 256 << 20;
/// Bytes of rows on their way to the tablet server.
const WRITE_BUFFER_BYTES: usize = 64 << 20;
/// RPC stays on this machine, on a free port.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A cluster of one: the three roles in this process, on one folder.
pub struct Local {
    master: master::Master,
    tabletserver: tabletserver::TabletServer,
    gateway: gateway::Gateway,
    _lock: FolderLock,
}

impl Local {
    /// Starts the roles; HTTP listens on `listen`.
    pub async fn start(dir: &Path, listen: SocketAddr) -> Result<Self> {
        let lock = FolderLock::take(dir)?;
        check_free(listen)?;
        let dir = dir.canonicalize().with_context(|| format!("cannot resolve the folder '{}'", dir.display()))?;
        let store = dir.join("bucket").display().to_string();
        let clock = SystemClock::shared();

        let config = MasterConfig::new(LOOPBACK, dir.join("master"), store.clone());
        let master = master::Master::start(config, clock.clone()).await.context("the master does not start")?;
        let masters = vec![master.local_addr().to_string()];

        let config = TabletServerConfig {
            listen: LOOPBACK,
            advertise: None,
            data_dir: dir.join("server"),
            store,
            masters: masters.clone(),
            memtable_bytes: MEMTABLE_BYTES,
            log: LogKind::Disk,
            cache_bytes: CACHE_BYTES,
            disk_cache_bytes: None,
        };
        let tabletserver = tabletserver::TabletServer::start(config, clock.clone()).await.context("the tablet server does not start")?;

        let config = GatewayConfig {
            listen,
            masters,
            runs: true,
            name: Some("local".into()),
            write_buffer_bytes: WRITE_BUFFER_BYTES,
            hedge_reads_after_ms: None,
        };
        let gateway = gateway::Gateway::start(config, clock).await.context("the gateway does not start")?;
        Ok(Self { master, tabletserver, gateway, _lock: lock })
    }

    /// Where HTTP listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// Ends the roles, clients first.
    pub async fn shutdown(self) -> Result<()> {
        self.gateway.shutdown().await?;
        self.tabletserver.shutdown().await?;
        self.master.shutdown().await?;
        Ok(())
    }
}

/// Says early and clearly that the address is taken; the gateway binds it later.
fn check_free(listen: SocketAddr) -> Result<()> {
    std::net::TcpListener::bind(listen).map(drop).with_context(|| {
        format!("cannot listen on {listen}: end what listens there, or take another address with --listen (port 0: a free one)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_named() {
        let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = taken.local_addr().unwrap();
        let wrong = format!("{:#}", check_free(address).unwrap_err());
        assert!(wrong.contains(&address.to_string()) && wrong.contains("--listen"), "{wrong}");
    }
}
