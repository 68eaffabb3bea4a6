//! Writes that depend on what the row holds.

use super::write::{check_families, check_writer, hidden_families, request_id};
use crate::host::Host;
use common::Result;
use common::conditional::{CheckAndMutate, ReadModifyWrite};
use common::row::{Mutation, RowMutation};
use common::rpc::tablet::{Conditional, ConditionalRequest, ConditionalResponse};
use common::schema::Table;
use common::{Error, ids::FamilyId};

/// Decides and writes one row.
pub async fn conditional(host: &Host, request: ConditionalRequest) -> Result<ConditionalResponse> {
    let tablet = host.tablet(request.target)?;
    let table = tablet.table();
    check_writer(&table, false)?;
    let id = request_id(&request.request_id)?;
    let wanted = Conditional::decode(&request.record)?;
    host.registry.meter(tablet.id()).written(1, || Some(wanted.key().clone()));
    let hidden = hidden_families(&table);
    let done = match wanted {
        Conditional::Check(check) => {
            check_lists(&check, &table, &hidden)?;
            let done = tablet.check_and_mutate(check, id).await.map_err(|e| host.refuse(&tablet, e))?;
            let (seq, timestamp) = done.committed.map_or((None, 0), |c| (Some(c.seq.0), c.timestamp.0));
            ConditionalResponse { matched: done.matched, seq, timestamp, row: None }
        }
        Conditional::Modify(modify) => {
            check_rules(&modify, &table, &hidden)?;
            let done = tablet.read_modify_write(modify, id).await.map_err(|e| host.refuse(&tablet, e))?;
            let (seq, timestamp) = (Some(done.committed.seq.0), done.committed.timestamp.0);
            ConditionalResponse { matched: true, seq, timestamp, row: Some(done.row.into()) }
        }
    };
    // An answer that nothing was written says how the row is: it counts only within the lease.
    if done.seq.is_none() {
        host.lease.check()?;
    }
    Ok(done)
}

fn check_lists(check: &CheckAndMutate, table: &Table, hidden: &[FamilyId]) -> Result<()> {
    let of = |mutations: &[Mutation]| RowMutation { key: check.key.clone(), mutations: mutations.to_vec() };
    check_families(of(&check.then), table, hidden)?;
    check_families(of(&check.otherwise), table, hidden).map(|_| ())
}

fn check_rules(modify: &ReadModifyWrite, table: &Table, hidden: &[FamilyId]) -> Result<()> {
    match modify.rules.iter().find(|rule| hidden.contains(&rule.family)) {
        Some(rule) => Err(Error::invalid(format!("table '{}': family {} is written by Stele alone", table.name, rule.family))),
        None => Ok(()),
    }
}
