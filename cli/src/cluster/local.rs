//! Starts the processes in order, says when one ends, and ends them in the opposite order.

use super::LocalArgs;
use super::layout::{Layout, Seat, Wanted};
use super::member::Member;
use crate::role::{Ends, FolderLock};
use anyhow::{Context, Result};
use common::config::MasterConfig;
use futures::future::{join_all, select_all};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Bytes of all memtables, and of decoded blocks, of each tablet server: they share a machine.
const MEMTABLE_BYTES: &str = "67108864";
const CACHE_BYTES: &str = "134217728";

/// Runs them until told to end.
pub async fn run(args: LocalArgs) -> Result<ExitCode> {
    let _lock = FolderLock::take(&args.dir)?;
    let dir = args.dir.canonicalize().with_context(|| format!("cannot resolve the folder '{}'", args.dir.display()))?;
    let store = args.store.clone().unwrap_or_else(|| dir.join("bucket").display().to_string());
    let (masters, tabletservers, gateways) = (args.masters, args.tabletservers, args.gateways);
    let layout = Layout::settle(&dir, &Wanted { store, masters, tabletservers, gateways, listen: args.listen })?;
    let mut ends = Ends::listen()?;
    let mut cluster = Local { dir: &dir, layout, members: [Vec::new(), Vec::new(), Vec::new()] };
    let started = tokio::select! {
        started = cluster.start() => started.map(|()| true),
        () = ends.told() => Ok(false),
    };
    if matches!(started, Ok(true)) {
        cluster.say_ready()?;
        cluster.watch(&mut ends).await?;
    }
    let ended = tokio::select! {
        ended = cluster.end() => ended?,
        // Dropped, they are killed.
        () = ends.told() => false,
    };
    started?;
    Ok(if ended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Local<'a> {
    dir: &'a Path,
    layout: Layout,
    /// Masters, tablet servers, gateways.
    members: [Vec<Member>; 3],
}

impl Local<'_> {
    async fn start(&mut self) -> Result<()> {
        let (dir, store, masters) = (self.dir, self.layout.store.clone(), self.layout.master_addresses());
        let first = self.layout.masters[0].address.to_string();
        let founder = dir.join(&self.layout.masters[0].name);
        let config = MasterConfig::new(self.layout.masters[0].address, founder, store.clone());
        master::found(&config).await.context("no cluster is founded")?;
        // The others find the first master running.
        for (n, seat) in self.layout.masters.iter_mut().enumerate() {
            let folder = dir.join(&seat.name).display().to_string();
            let mut arguments = vec!["master", "--data-dir", &folder, "--store", &store];
            if n > 0 {
                arguments.extend(["--masters", &first]);
            }
            self.members[0].push(start(dir, seat, &arguments).await?);
        }
        let servers = self.layout.tabletservers.iter_mut().map(|seat| {
            let (store, masters) = (&store, &masters);
            async move {
                let folder = dir.join(&seat.name).display().to_string();
                let arguments = ["tabletserver", "--data-dir", &folder, "--store", store, "--masters", masters];
                start(dir, seat, &[&arguments[..], &["--memtable-bytes", MEMTABLE_BYTES, "--cache-bytes", CACHE_BYTES]].concat()).await
            }
        });
        self.members[1] = join_all(servers).await.into_iter().collect::<Result<_>>()?;
        let gateways = self.layout.gateways.iter_mut().map(|seat| {
            let masters = &masters;
            async move { start(dir, seat, &["gateway", "--masters", masters]).await }
        });
        self.members[2] = join_all(gateways).await.into_iter().collect::<Result<_>>()?;
        Ok(())
    }

    fn say_ready(&self) -> Result<()> {
        self.layout.write(self.dir)?;
        let lines: Vec<String> =
            self.layout.gateways.iter().map(|g| format!("  REST at http://{}, docs at http://{}/docs", g.address, g.address)).collect();
        say(&format!("all of them are in {}\n{}\nready", self.dir.join("cluster.json").display(), lines.join("\n")))
    }

    /// Until told to end, or until nobody is left.
    async fn watch(&mut self, ends: &mut Ends) -> Result<()> {
        while self.members.iter().any(|group| !group.is_empty()) {
            let all = self.members.iter_mut().flatten().map(|m| Box::pin(async move { (m.name.clone(), m.ended().await) }));
            let (name, status) = tokio::select! {
                (one, _, _) = select_all(all) => one,
                () = ends.told() => return Ok(()),
            };
            self.members.iter_mut().for_each(|group| group.retain(|m| m.name != name));
            self.layout.seats_mut().filter(|s| s.name == name).for_each(|s| s.pid = None);
            self.layout.write(self.dir)?;
            let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
            say(&format!("{name} has ended: {status}; its log is {}", self.dir.join(format!("{name}.log")).display()))?;
        }
        say("nothing runs any more")
    }

    /// Clients before servers. Whether all ended well.
    async fn end(&mut self) -> Result<bool> {
        let mut well = true;
        for group in self.members.iter_mut().rev() {
            let ended = join_all(group.drain(..).map(Member::end)).await;
            well &= ended.into_iter().all(|well| well);
        }
        self.layout.seats_mut().for_each(|s| s.pid = None);
        self.layout.write(self.dir)?;
        Ok(well)
    }
}

async fn start(dir: &Path, seat: &mut Seat, arguments: &[&str]) -> Result<Member> {
    let member = Member::start(dir, seat, arguments).await?;
    say(&format!("{:<16} {:<22} process {}", seat.name, seat.address, seat.pid.unwrap_or_default()))?;
    Ok(member)
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
