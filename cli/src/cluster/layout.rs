//! Who listens where: `cluster.json` in the cluster's folder.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

const FILE: &str = "cluster.json";
/// RPC stays on this machine.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// All processes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The object store.
    pub store: String,
    pub masters: Vec<Seat>,
    pub tabletservers: Vec<Seat>,
    pub gateways: Vec<Seat>,
}

/// Where a process listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its folder and log file are called so.
    pub name: String,
    pub address: SocketAddr,
    /// `None` while it does not run.
    pub pid: Option<u32>,
}

/// How many there are to be, and where.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub store: String,
    pub masters: u16,
    pub tabletservers: u16,
    pub gateways: u16,
    /// Of the first gateway.
    pub listen: SocketAddr,
}

impl Layout {
    /// What the folder was laid out as, with as many processes as are wanted; masters stay as many as they were.
    pub fn settle(dir: &Path, wanted: &Wanted) -> Result<Self> {
        let known = Self::read(dir)?;
        if let Some(known) = &known
            && (known.store != wanted.store || known.masters.len() != usize::from(wanted.masters))
        {
            bail!(
                "'{}' is the folder of a cluster with {} masters on '{}': start it with these, or take another folder with --dir",
                dir.display(),
                known.masters.len(),
                known.store
            );
        }
        let known = known.unwrap_or(Self { store: wanted.store.clone(), masters: vec![], tabletservers: vec![], gateways: vec![] });
        // Held until all are known, so that no port is found twice.
        let mut held = Vec::new();
        Ok(Self {
            store: known.store,
            masters: seats("master", wanted.masters, &known.masters, &mut held)?,
            tabletservers: seats("tabletserver", wanted.tabletservers, &known.tabletservers, &mut held)?,
            gateways: gateways(wanted, &mut held)?,
        })
    }

    fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| format!("'{}'", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read '{}'", path.display())),
        }
    }

    /// Writes it whole or not at all.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let (path, staged) = (dir.join(FILE), dir.join("cluster.json.new"));
        let written = std::fs::write(&staged, serde_json::to_vec_pretty(self)?).and_then(|()| std::fs::rename(&staged, &path));
        written.with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Addresses of all masters, as an option takes them.
    pub fn master_addresses(&self) -> String {
        self.masters.iter().map(|m| m.address.to_string()).collect::<Vec<_>>().join(",")
    }

    /// All seats, masters first.
    pub fn seats_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.masters.iter_mut().chain(&mut self.tabletservers).chain(&mut self.gateways)
    }
}

/// Known seats keep their addresses: the others have written them down.
fn seats(role: &str, wanted: u16, known: &[Seat], held: &mut Vec<TcpListener>) -> Result<Vec<Seat>> {
    let seat = |n: usize| -> Result<Seat> {
        let address = match known.get(n) {
            Some(seat) => seat.address,
            None => free(LOOPBACK, held)?,
        };
        Ok(Seat { name: format!("{role}-{}", n + 1), address, pid: None })
    };
    (0..usize::from(wanted)).map(seat).collect()
}

fn gateways(wanted: &Wanted, held: &mut Vec<TcpListener>) -> Result<Vec<Seat>> {
    let seat = |n: u16| -> Result<Seat> {
        let port = if wanted.listen.port() == 0 { 0 } else { wanted.listen.port().checked_add(n).context("no port above 65535")? };
        let address = free(SocketAddr::new(wanted.listen.ip(), port), held)?;
        Ok(Seat { name: format!("gateway-{}", n + 1), address, pid: None })
    };
    (0..wanted.gateways).map(seat).collect()
}

/// The address, or with port 0 a free one.
fn free(address: SocketAddr, held: &mut Vec<TcpListener>) -> Result<SocketAddr> {
    let taken =
        || format!("cannot listen on {address}: end what listens there, or take another address with --listen (port 0: a free one)");
    let listener = TcpListener::bind(address).with_context(taken)?;
    let bound = listener.local_addr()?;
    held.push(listener);
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(masters: u16, tabletservers: u16) -> Wanted {
        Wanted { store: "/bucket".into(), masters, tabletservers, gateways: 2, listen: LOOPBACK }
    }

    #[test]
    fn a_folder_keeps_its_addresses_and_takes_more_servers() {
        let dir = tempfile::tempdir().unwrap();
        let first = Layout::settle(dir.path(), &wanted(3, 1)).unwrap();
        let mut ports: Vec<_> = first.masters.iter().chain(&first.tabletservers).chain(&first.gateways).map(|s| s.address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 6);
        first.write(dir.path()).unwrap();
        let second = Layout::settle(dir.path(), &wanted(3, 2)).unwrap();
        assert_eq!((&second.masters, &second.tabletservers[0]), (&first.masters, &first.tabletservers[0]));
        let other = Layout::settle(dir.path(), &wanted(1, 2)).unwrap_err().to_string();
        assert!(other.contains("3 masters") && other.contains("--dir"), "{other}");
    }
}
