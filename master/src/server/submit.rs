use super::node::Node;
use super::{admin, members};
use crate::entry::{Change, What};
use crate::{backup, state};
use common::envelope::AsJson;
use common::ids::{ClaimId, TableId};
use common::rpc::master::{Command, INGEST_TTL, Reply};
use common::schema::TableKind;
use common::{Error, Result};

/// Carries out one command.
///
/// # Errors
/// See [`Command`]; `Unavailable` if this node does not lead.
pub(super) async fn submit(node: &Node, command: Command) -> Result<Reply> {
    match command {
        Command::GetCatalog => {
            node.confirm.leadership().await?;
            Ok(Reply::Catalog(Box::new(state::catalog(&node.state().state))))
        }
        Command::KeepClaims { claims } => keep_claims(node, &claims),
        Command::OpenIngest { name, ingest } => open_ingest(node, &name, &ingest).await,
        Command::CloseIngest { ingest } => close_ingest(node, &ingest).await,
        Command::NewMaster { cluster } => members::number(node, cluster).await,
        Command::JoinMaster { node: id, address } => members::join(node, id, address).await,
        Command::RemoveMaster { node: id } => members::remove(node, id).await,
        Command::ListMasters => {
            node.confirm.leadership().await?;
            Ok(members::list(node))
        }
        Command::ListServers => seen(node, admin::servers).await,
        Command::ListTablets { table, after, limit } => {
            node.confirm.leadership().await?;
            Ok(admin::tablets(node, table, after.as_ref(), limit as usize))
        }
        Command::ListProcedures => seen(node, admin::procedures).await,
        Command::ListSnapshots => seen(node, admin::snapshots).await,
        Command::BackupTable { source, location } => {
            node.check_leads()?;
            backup::check_free(&location).await?;
            commit(node, Command::BackupTable { source, location }).await
        }
        Command::RestoreTable { location, name, .. } => {
            node.check_leads()?;
            let contents = Some(Box::new(backup::read(&location).await?.contents()));
            commit(node, Command::RestoreTable { location, name, contents }).await
        }
        Command::Deletable { home, epoch, objects } => {
            node.confirm.leadership().await?;
            Ok(Reply::Deletable { objects: node.state().state.deletable(home, epoch, &objects)? })
        }
        // At each opening a tablet says what it names; mostly that is known, and costs no entry.
        Command::NarrowPins { ref referrer, ref objects } if node.state().state.pins.is_narrow(referrer, objects) => {
            node.check_leads()?;
            Ok(done(node))
        }
        command => commit(node, command).await,
    }
}

/// What this node sees as the leader.
async fn seen(node: &Node, look: fn(&Node) -> Reply) -> Result<Reply> {
    node.confirm.leadership().await?;
    Ok(look(node))
}

/// Commits a command. One that creates, alters or drops a table, or gives a number that lives elsewhere, is answered only
/// once the object store has a copy of it.
async fn commit(node: &Node, command: Command) -> Result<Reply> {
    let alters = matches!(
        command,
        Command::CreateTable { .. }
            | Command::DropTable { .. }
            | Command::ApplyDefinitions { .. }
            | Command::Promote { .. }
            | Command::DropEnvironment { .. }
            | Command::ProtectTable { .. }
            | Command::DropSnapshot { .. }
            | Command::ScheduleSnapshots { .. }
            | Command::RegisterServer
    );
    let (index, reply) = node.propose(What::Command(AsJson(command))).await?;
    node.wake.notify_one();
    if alters {
        node.copier.wait(index).await?;
    }
    Ok(reply)
}

fn done(node: &Node) -> Reply {
    Reply::Done { catalog: node.state().state.version }
}

fn keep_claims(node: &Node, claims: &[ClaimId]) -> Result<Reply> {
    node.check_leads()?;
    let (applied, now) = (node.state(), node.now());
    let (live, ended): (Vec<ClaimId>, Vec<ClaimId>) = claims.iter().copied().partition(|id| applied.state.claims.contains_key(id));
    let mut memory = node.memory();
    live.into_iter().for_each(|id| memory.keep_claim(id, now));
    drop(memory);
    if ended.is_empty() {
        return Ok(done(node));
    }
    let ended: Vec<_> = ended.iter().map(ToString::to_string).collect();
    Err(Error::refused(format!("claims that have ended: {}; their runs were aborted", ended.join(", "))))
}

/// Each renewal is in the leader's memory only; that a table has an open ingest, and that it has none any more, is committed.
async fn open_ingest(node: &Node, name: &str, ingest: &str) -> Result<Reply> {
    node.check_leads()?;
    let applied = node.state();
    let table = applied.state.table_named(name).ok_or_else(|| Error::not_found(format!("table '{name}' does not exist")))?;
    if table.kind != TableKind::Raw {
        return Err(Error::invalid(format!("table '{name}' is not raw: only raw tables are loaded")));
    }
    node.memory().keep_ingest(ingest, table.id, node.now());
    commit_ingests(node).await
}

async fn close_ingest(node: &Node, ingest: &str) -> Result<Reply> {
    node.check_leads()?;
    node.memory().end_ingest(ingest);
    commit_ingests(node).await
}

async fn commit_ingests(node: &Node) -> Result<Reply> {
    let state = node.state();
    let mut open = node.memory().ingesting(INGEST_TTL, node.now());
    open.retain(|table: &TableId| state.state.tables.contains_key(table));
    if open != state.state.ingesting {
        node.change(Change::Ingesting(open)).await?;
    }
    Ok(done(node))
}
