//! Three real masters in this process, over gRPC.

use super::Master;
use common::catalog::Catalog;
use common::config::MasterConfig;
use common::rpc::Json;
use common::rpc::master::{Command, MasterNode, Reply, WatchRequest};
use common::rpc::master_service::master_client::MasterClient;
use common::schema::TableSpec;
use common::time::SystemClock;
use common::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tonic::transport::Channel;

/// Bounds a wait for what must come.
const SOON: Duration = Duration::from_secs(30);

fn config(folder: &Path, data: &str, listen: SocketAddr, masters: &[SocketAddr]) -> MasterConfig {
    let store = folder.join("store").to_str().unwrap().to_owned();
    let masters = masters.iter().map(ToString::to_string).collect();
    MasterConfig { masters, ..MasterConfig::new(listen, folder.join(data), store) }
}

fn free_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn start(folder: &Path, data: &str, masters: &[SocketAddr]) -> Master {
    Master::start(config(folder, data, free_port(), masters), SystemClock::shared()).await.unwrap()
}

async fn client(address: SocketAddr) -> Result<MasterClient<Channel>> {
    MasterClient::connect(format!("http://{address}")).await.map_err(|e| Error::unavailable(e.to_string()))
}

async fn submit(address: SocketAddr, command: Command) -> Result<Reply> {
    let reply = client(address).await?.submit(Json::of(&command)?).await.map_err(Error::from)?;
    reply.into_inner().parse()
}

/// Repeats what may meet a group without a leader.
async fn insist(address: SocketAddr, command: Command) -> Result<Reply> {
    let asking = async {
        loop {
            match submit(address, command.clone()).await {
                Err(e) if matches!(e.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                other => return other,
            }
        }
    };
    tokio::time::timeout(SOON, asking).await.unwrap_or_else(|_| Err(Error::deadline("no answer")))
}

async fn masters(address: SocketAddr) -> Vec<MasterNode> {
    match insist(address, Command::ListMasters).await.unwrap() {
        Reply::Masters { nodes } => nodes,
        other => panic!("{other:?}"),
    }
}

async fn until_voters(address: SocketAddr, count: usize) -> Vec<MasterNode> {
    let waiting = async {
        loop {
            let nodes = masters(address).await;
            if nodes.iter().filter(|n| n.votes).count() == count {
                return nodes;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap()
}

async fn create(address: SocketAddr, name: &str) {
    insist(address, Command::CreateTable { spec: TableSpec::named(name) }).await.unwrap();
}

async fn tables(address: SocketAddr) -> Vec<String> {
    match insist(address, Command::GetCatalog).await.unwrap() {
        Reply::Catalog(catalog) => catalog.tables.iter().map(|t| t.name.clone()).filter(|n| !n.starts_with("system.")).collect(),
        other => panic!("{other:?}"),
    }
}

/// Three nodes, all of which vote; the first leads.
async fn group(folder: &Path) -> Vec<Master> {
    let first = start(folder, "a", &[]).await;
    let second = start(folder, "b", &[first.local_addr()]).await;
    let third = start(folder, "c", &[first.local_addr(), second.local_addr()]).await;
    until_voters(first.local_addr(), 3).await;
    vec![first, second, third]
}

#[tokio::test(flavor = "multi_thread")]
async fn any_master_takes_commands_and_shows_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let group = group(folder.path()).await;
    for (at, name) in group.iter().zip(["raw.a", "raw.b", "raw.c"]) {
        create(at.local_addr(), name).await;
    }
    for at in &group {
        assert_eq!(tables(at.local_addr()).await, ["raw.a", "raw.b", "raw.c"]);
        let request = Json::of(&WatchRequest { known: 0 }).unwrap();
        let mut watch = client(at.local_addr()).await.unwrap().watch(request).await.unwrap().into_inner();
        let seen = Catalog::default().after(watch.message().await.unwrap().unwrap().parse().unwrap()).unwrap();
        assert!(seen.table("raw.c").is_some());
    }
    for master in group {
        master.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_goes_on_without_its_leader_and_takes_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut group = group(folder.path()).await;
    create(group[0].local_addr(), "raw.a").await;
    let gone = group.remove(0);
    let address = gone.local_addr();
    // As a process that is killed: no farewell.
    drop(gone);
    create(group[0].local_addr(), "raw.b").await;
    assert_eq!(tables(group[1].local_addr()).await, ["raw.a", "raw.b"]);
    let back = async {
        loop {
            // The old threads may hold the folder a moment longer.
            match Master::start(config(folder.path(), "a", address, &[]), SystemClock::shared()).await {
                Ok(master) => return master,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let back = tokio::time::timeout(SOON, back).await.unwrap();
    create(back.local_addr(), "raw.c").await;
    assert_eq!(tables(group[0].local_addr()).await, ["raw.a", "raw.b", "raw.c"]);
    assert_eq!(masters(back.local_addr()).await.iter().map(|n| n.node).collect::<Vec<_>>()[0], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_comes_back_as_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut group = group(folder.path()).await;
    create(group[0].local_addr(), "raw.a").await;
    let before = until_voters(group[0].local_addr(), 3).await;
    let lost = before.iter().find(|n| n.address == group[2].local_addr().to_string()).unwrap().node;
    drop(group.pop());
    let known = [group[0].local_addr(), group[1].local_addr()];
    let new = start(folder.path(), "d", &known).await;
    let after = until_voters(group[0].local_addr(), 4).await;
    let number = after.iter().find(|n| n.address == new.local_addr().to_string()).unwrap().node;
    assert!(before.iter().all(|n| n.node < number), "{number} was given before: {before:?}");
    insist(known[0], Command::RemoveMaster { node: lost }).await.unwrap();
    assert!(masters(known[1]).await.iter().all(|n| n.node != lost && n.votes));
    let e = insist(known[0], Command::RemoveMaster { node: lost }).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::NotFound);
    assert_eq!(tables(new.local_addr()).await, ["raw.a"]);
    // Three vote again, so that another loss is survived.
    drop(group.pop());
    create(new.local_addr(), "raw.b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_at_the_same_address_takes_the_place_of_who_was_there_and_is_not_counted_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut group = group(folder.path()).await;
    create(group[0].local_addr(), "raw.a").await;
    let before = until_voters(group[0].local_addr(), 3).await;
    let address = group[2].local_addr();
    group.pop().unwrap().shutdown().await.unwrap();
    let known = [group[0].local_addr(), group[1].local_addr()];
    let new = Master::start(config(folder.path(), "d", address, &known), SystemClock::shared()).await.unwrap();
    let after = loop {
        let found = masters(known[0]).await;
        if found.len() == 3
            && found.iter().all(|n| n.votes && (n.address != address.to_string() || before.iter().all(|b| b.node != n.node)))
        {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(after.iter().filter(|n| before.iter().any(|b| b.node == n.node)).count(), 2, "{after:?}");
    // What is asked of who was there before, it does not answer.
    let old = before.iter().find(|n| n.address == address.to_string()).unwrap().node;
    let channel = common::rpc::channel::connect(&common::rpc::net::Tcp::shared(), &address.to_string()).await.unwrap();
    let vote = openraft::raft::VoteRequest::new(openraft::Vote::new(1_000, before[0].node), None);
    let question = crate::raft::Addressed { to: old, question: vote };
    let mut peer = common::rpc::raft_service::raft_client::RaftClient::new(channel);
    let refused = peer.vote(crate::raft::frame(&question).unwrap()).await.unwrap_err();
    assert!(refused.code() == tonic::Code::Unavailable && refused.message().contains(&format!("not {old}")), "{refused}");
    // Three vote, so that another loss is survived.
    drop(group.pop());
    create(new.local_addr(), "raw.b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_does_not_join_another_cluster() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = start(one.path(), "a", &[]).await;
    let foreign = start(other.path(), "a", &[]).await;
    let config = config(one.path(), "b", free_port(), &[foreign.local_addr()]);
    let e = Master::start(config, SystemClock::shared()).await.map(|_| ()).unwrap_err();
    assert!(e.kind == ErrorKind::FailedPrecondition && e.message.contains(first.cluster()), "{e}");
}
