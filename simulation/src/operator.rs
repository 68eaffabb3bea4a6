//! What an operator does: makes the table, moves, splits and merges tablets, and in the end looks whether all is well.

use crate::checks::Last;
use crate::clients::{Columns, LETTERS, TABLE, everything};
use crate::cluster::{Stage, World};
use bytes::Bytes;
use common::rpc::master::{Command, Procedure, ProcedureView, Reply, TabletView};
use common::schema::TableSpec;
use common::{Error, Result};
use gateway::cluster::Cluster;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

/// The operator's host.
pub const HOST: &str = "operator";
/// More tablets than a run ever has.
const MOST_TABLETS: u32 = 1000;
/// Between looks at what is awaited.
const LOOK: Duration = Duration::from_millis(200);

/// The whole of a run, from the operator's side; ends once all is well again.
///
/// # Errors
/// What keeps the run from beginning.
pub async fn run(world: Arc<World>, seed: u64) -> Result<()> {
    let cluster = connect(&world).await;
    let mut operator = Operator { world: world.clone(), cluster, random: StdRng::seed_from_u64(seed) };
    operator.make_table().await?;
    operator.until_all_is_well("at the beginning").await;
    world.enter(Stage::Run);
    operator.rearrange().await;
    while world.is_busy() {
        tokio::time::sleep(LOOK).await;
    }
    operator.until_all_is_well("at the end").await;
    let last = operator.last_rows().await;
    world.note(HOST, format_args!("all is well: {} rows", last.puts.len()));
    world.finish(last);
    Ok(())
}

/// A gateway's way to the cluster, as soon as there is one.
pub async fn connect(world: &Arc<World>) -> Arc<Cluster> {
    loop {
        match Cluster::connect_in(&world.master_addresses(), &world.surroundings(HOST), None).await {
            Ok(cluster) => return cluster,
            Err(e) => world.note(HOST, format_args!("no cluster yet: {e}")),
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Operator {
    world: Arc<World>,
    cluster: Arc<Cluster>,
    random: StdRng,
}

impl Operator {
    async fn make_table(&self) -> Result<()> {
        let split_at = serde_json::json!([["g"], ["p"]]);
        let spec = serde_json::json!({ "name": TABLE, "families": { "f": {} }, "split_at": split_at });
        let spec: TableSpec = serde_json::from_value(spec).map_err(|e| Error::internal(format!("the table's spec: {e}")))?;
        loop {
            match self.cluster.submit(Command::CreateTable { spec: spec.clone() }).await {
                // An attempt of unknown outcome was carried out.
                Err(e) if e.kind == common::ErrorKind::AlreadyExists => return Ok(()),
                Err(e) if e.is_retryable() || e.kind == common::ErrorKind::Unavailable => tokio::time::sleep(LOOK).await,
                other => return other.map(drop),
            }
        }
    }

    /// Moves, splits and merges while the run goes on, and says who leads.
    async fn rearrange(&mut self) {
        let mut next = Duration::ZERO;
        while self.world.stage() == Stage::Run {
            tokio::time::sleep(LOOK).await;
            if let Ok(Reply::Masters { nodes }) = self.cluster.submit(Command::ListMasters).await {
                let leader = nodes.iter().find(|n| n.leads).and_then(|n| n.address.split(':').next().map(str::to_owned));
                self.world.leads(leader);
            }
            let Some(every) = self.world.plan.procedure_every else { continue };
            if crate::witness::now() >= next {
                self.begin_one().await;
                next = crate::witness::now() + every.mul_f64(self.random.random_range(0.5..1.5));
            }
        }
    }

    async fn begin_one(&mut self) {
        let Ok(tablets) = self.tablets().await else { return };
        let Some(procedure) = self.choose(&tablets) else { return };
        let begun = self.cluster.submit(Command::Begin { procedure: procedure.clone() }).await;
        self.world.note(HOST, format_args!("{procedure}: {begun:?}"));
    }

    fn choose(&mut self, tablets: &[TabletView]) -> Option<Procedure> {
        let tablet = tablets.choose(&mut self.random)?;
        match self.random.random_range(0..3) {
            0 => Some(Procedure::Move { tablet: tablet.id, to: None }),
            1 => {
                let letters: Vec<u8> = LETTERS.iter().copied().filter(|l| tablet.range.contains(&[*l])).collect();
                let at = letters.choose(&mut self.random).map(|letter| Bytes::copy_from_slice(&[*letter]));
                Some(Procedure::Split { tablet: tablet.id, at })
            }
            _ => {
                let upper = tablets.iter().find(|t| t.table == tablet.table && Some(&t.range.start) == tablet.range.end.as_ref())?;
                Some(Procedure::Merge { tablets: [tablet.id, upper.id] })
            }
        }
    }

    async fn tablets(&self) -> Result<Vec<TabletView>> {
        let list = Command::ListTablets { table: None, after: None, limit: MOST_TABLETS };
        match self.cluster.submit(list).await? {
            Reply::Tablets { tablets, .. } => Ok(tablets),
            other => Err(Error::internal(format!("tablets were asked for, not {other:?}"))),
        }
    }

    async fn procedures(&self) -> Result<Vec<ProcedureView>> {
        match self.cluster.submit(Command::ListProcedures).await? {
            Reply::Procedures { procedures } => Ok(procedures),
            other => Err(Error::internal(format!("procedures were asked for, not {other:?}"))),
        }
    }

    /// Waits until every master votes, every server lives and every tablet is served.
    async fn until_all_is_well(&self, when: &str) {
        loop {
            match self.is_well().await {
                Ok(()) => return,
                Err(e) => self.world.awaits(format!("{when}: {e}")),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn is_well(&self) -> Result<()> {
        let not_yet = |what: String| Err(Error::unavailable(what));
        let Reply::Masters { nodes } = self.cluster.submit(Command::ListMasters).await? else { return not_yet("no masters".into()) };
        if nodes.iter().filter(|n| n.votes).count() != self.world.plan.masters {
            return not_yet(format!("masters: {nodes:?}"));
        }
        let Reply::Servers { servers } = self.cluster.submit(Command::ListServers).await? else { return not_yet("no servers".into()) };
        if servers.iter().filter(|s| s.live).count() != self.world.plan.servers {
            return not_yet(format!("servers: {servers:?}"));
        }
        if let Some(tablet) = self.tablets().await?.iter().find(|t| t.state != "open") {
            return not_yet(format!("{tablet:?}"));
        }
        match self.procedures().await?.iter().find(|p| p.ended_at.is_none()) {
            // By themselves, masters may always begin another one.
            Some(procedure) if !self.world.plan.automatic => not_yet(format!("{procedure:?}")),
            _ => Ok(()),
        }
    }

    async fn last_rows(&self) -> Last {
        loop {
            match self.read_all().await {
                Ok(last) => return last,
                Err(e) => self.world.awaits(format!("the last scan: {e}")),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn read_all(&self) -> Result<Last> {
        let table = self.cluster.table(TABLE)?;
        let columns = Columns::of(&table)?;
        let mut last = Last::default();
        for row in everything(&self.cluster, &table).await? {
            if let Some(value) = columns.value(&row) {
                last.puts.insert(row.key.clone(), value.clone());
                continue;
            }
            match columns.list(&row) {
                Ok(list) => _ = last.rows.insert(row.key.clone(), (list, columns.register(&row))),
                Err(e) => self.world.witness.wrong(e),
            }
        }
        Ok(last)
    }
}
