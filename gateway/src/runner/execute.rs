//! One run: claim, compute, compare, stage, publish.
//!
//! The order is the protocol: the inputs' versions were pinned (and their changes scanned up to them) before the
//! claim; the claim's base must be the version that the decision saw, else somebody has published meanwhile and the
//! decision is void; everything is staged before the publish; a publish that is refused leaves nothing behind.

use super::base::Base;
use super::claims::{Claim, Claims};
use super::compute::{Computed, Rows, compute};
use super::difference::{Comparison, Difference, Scope, key_text};
use super::keys::{self, Path};
use super::merge::PartsComparison;
use super::parts::Fold;
use super::records::{self, WindowRecord};
use super::staging;
use super::unique;
use super::work::{PinnedInput, Work};
use crate::cluster::Cluster;
use crate::sql::Sql;
use common::catalog::RunRecord;
use common::ids::Seq;
use common::row::Row;
use common::rpc::master::{Command, InputProgress, Publish, Reply};
use common::schema::Table;
use common::time::Micros;
use common::version::RangeSet;
use common::{Error, ErrorKind, Result};
use derived::document::Strategy;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What all runs of one gateway share.
pub struct Executor {
    /// The way to the cluster.
    pub cluster: Arc<Cluster>,
    /// Plans and runs queries.
    pub sql: Arc<Sql>,
    /// The claims of this gateway.
    pub claims: Arc<Claims>,
    /// The runner's name in run records.
    pub name: String,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was published, at this version.
    Published(Box<RunRecord>),
    /// Another run, or another definition, came before it: decide anew.
    Outdated(Error),
    /// It failed.
    Failed(Error),
}

impl Executor {
    /// Does a run. Dropped before its end, it leaves nothing visible.
    pub async fn run(&self, work: &Work) -> Outcome {
        let started_at = self.cluster.clock().now();
        let claim = match self.claim(work).await {
            Ok(claim) => claim,
            Err(e) if e.kind == ErrorKind::FailedPrecondition || e.kind == ErrorKind::NotFound => return Outcome::Outdated(e),
            Err(e) => return Outcome::Failed(e),
        };
        let mut record = RunRecord { run: claim.run, started_at, ..self.record(work) };
        let done = match work.artifact.timing.timeout {
            None => self.compute_and_publish(work, &claim, &mut record).await,
            Some(limit) => tokio::time::timeout(limit, self.compute_and_publish(work, &claim, &mut record))
                .await
                .unwrap_or_else(|_| Err(Error::invalid(format!("the run took longer than its timeout of {} s", limit.as_secs())))),
        };
        match done {
            Ok(()) => {
                claim.settle();
                Outcome::Published(Box::new(record))
            }
            Err(e) => self.abandon(claim, record, e).await,
        }
    }

    async fn claim(&self, work: &Work) -> Result<Claim> {
        let command = Command::Claim {
            table: work.table.id,
            fingerprint: work.fingerprint.clone(),
            windows: work.windows(),
            whole: work.plan.whole,
            runner: self.name.clone(),
        };
        let claim = self.claims.claim(command).await?;
        // Dropping the claim ends it.
        if claim.base == work.seen { Ok(claim) } else { Err(Error::refused(format!("version {} was published meanwhile", claim.base))) }
    }

    fn record(&self, work: &Work) -> RunRecord {
        let input = |i: &PinnedInput| match i.version.single() {
            Some(version) => format!("{}@{version}", i.table.name),
            None => {
                let seqs: Vec<_> = i.version.entries().iter().map(|(_, seq)| seq.to_string()).collect();
                format!("{}@{}", i.table.name, seqs.join("+"))
            }
        };
        RunRecord {
            table: work.table.name.clone(),
            reason: work.plan.reason.into(),
            windows: work.ranges.clone().unwrap_or_default(),
            inputs: work.inputs.iter().map(input).collect(),
            mixed_with: work.plan.mixed_with.clone(),
            fingerprint: work.fingerprint.clone(),
            runner: self.name.clone(),
            ..RunRecord::default()
        }
    }

    async fn compute_and_publish(&self, work: &Work, claim: &Claim, record: &mut RunRecord) -> Result<()> {
        let pins = work.inputs.iter().map(|i| (i.table.id, i.version.clone())).collect();
        let context = self.sql.context(pins)?;
        let path = keys::path(&self.cluster, &context, work).await?;
        record.path = path.as_ref().map(Path::text).unwrap_or_default();
        let path = path.as_ref();
        if path.is_some_and(Path::is_empty) && claim.base != Seq::ZERO {
            record.ended_at = self.cluster.clock().now();
            return self.publish(work, claim, false, record).await;
        }
        let computed = compute(&context, work, claim.run, path).await?;
        (record.rows_in, record.rows_out) = (computed.rows_read, computed.rows_given);
        let found = self.difference(work, claim.base, computed, path, record.started_at).await?;
        record.rows_changed = found.mutations.len() as u64;
        unique::check(&Base { cluster: &self.cluster, table: &work.table, version: claim.base }, &work.artifact.tests, &found).await?;
        // A first version is given even to an empty table: then it counts as computed.
        let changed = !found.mutations.is_empty() || claim.base == Seq::ZERO;
        if changed {
            self.stage(work, claim, found, path.is_some_and(Path::is_partial), record.started_at).await?;
        }
        record.ended_at = self.cluster.clock().now();
        self.publish(work, claim, changed, record).await
    }

    async fn difference(&self, work: &Work, base: Seq, computed: Computed, path: Option<&Path>, at: Micros) -> Result<Difference> {
        let windows = work.windows();
        let window = work.artifact.window.as_ref();
        let base = Base { cluster: &self.cluster, table: &work.table, version: base };
        match computed.rows {
            Rows::Plain(rows) => {
                let given: BTreeSet<_> = rows.iter().map(|r| r.key.clone()).collect();
                let scope = window.map_or(Scope::Whole, |w| Scope::Windows(&windows, w));
                let mut comparison = Comparison::new(&work.table, scope, rows, at)?;
                match path {
                    Some(Path::Keys(keys)) => each(base.rows_of(&keys.rows), |row| comparison.stored(row)).await?,
                    Some(Path::Appended(_)) => each(base.rows_of(&given), |row| Err(appended_before(work, &row.key))).await?,
                    _ => each(base.rows(window.map(|w| (w, &windows))), |row| comparison.stored(row)).await?,
                }
                Ok(comparison.finish())
            }
            Rows::Parts(parts) => {
                let Strategy::Merge(rules) = &work.artifact.strategy else {
                    return Err(Error::internal(format!("table '{}': parts of no merge", work.table.name)));
                };
                let fold = Fold { table: &work.table, rules };
                let mut comparison = PartsComparison::new(&work.table, &windows, parts, &fold, at)?;
                each(base.rows(None), |row| comparison.stored(row)).await?;
                comparison.finish()
            }
        }
    }

    /// Stages the difference along with the window records that it makes right.
    async fn stage(&self, work: &Work, claim: &Claim, found: Difference, partial: bool, at: Micros) -> Result<()> {
        let base = Base { cluster: &self.cluster, table: &work.table, version: claim.base };
        let old = base.records().await?;
        let mut rows = match partial {
            true => records::carry_on(&work.table, &old, (&found.before, &found.after), (claim.run, &work.fingerprint), at)?,
            false => {
                let new = WindowRecord::of(claim.run, work.windows(), &work.fingerprint, &found.after);
                records::update(&work.table, old, &found.before, &new, at)?
            }
        };
        rows.extend(found.mutations);
        staging::stage(&self.cluster, &work.table, claim.run, rows).await
    }

    async fn publish(&self, work: &Work, claim: &Claim, changed: bool, record: &mut RunRecord) -> Result<()> {
        let windows = work.windows();
        let progress =
            |i: &PinnedInput| InputProgress { input: i.table.id, cursor: i.version.clone(), newly_dirty: i.pending.subtract(&windows) };
        let publish = Publish {
            claim: claim.id,
            fingerprint: work.fingerprint.clone(),
            changed,
            complete: match work.plan.run_time {
                // Up to there it is not due by its schedule.
                Some(at) => RangeSet::of(Micros::MIN, at),
                None if work.plan.complete => windows.clone(),
                None => RangeSet::empty(),
            },
            inputs: work.inputs.iter().map(progress).collect(),
            windows: windows.clone(),
            record: Box::new(record.clone()),
        };
        let Reply::Published { version, .. } = self.cluster.submit(Command::Publish(Box::new(publish))).await? else {
            return Err(Error::internal("a publish was answered with something else"));
        };
        record.status = if changed { "published" } else { "unchanged" }.into();
        record.version = version;
        if changed {
            self.apply(&work.table, version).await;
        }
        Ok(())
    }

    /// Readers bring the new version with them, so this only saves the first of them the wait.
    async fn apply(&self, table: &Table, version: Seq) {
        let catalog = self.cluster.catalog();
        let runs: Vec<_> = catalog.published(table.id).map(|p| p.runs.clone()).unwrap_or_default();
        let runs: Vec<_> = runs.into_iter().filter(|(_, v)| *v <= version).collect();
        if let Err(e) = self.cluster.apply(table, &runs).await {
            tracing::debug!(table = %table.name, error = %e, "a published version is not applied everywhere yet");
        }
    }

    async fn abandon(&self, claim: Claim, record: RunRecord, error: Error) -> Outcome {
        let outdated = error.kind == ErrorKind::FailedPrecondition;
        let status = if outdated { "abandoned" } else { "failed" };
        let ended_at = self.cluster.clock().now();
        let record = RunRecord { status: status.into(), ended_at, error: Some(error.message.clone()), ..record };
        tracing::warn!(table = %record.table, run = %record.run, status, error = %error, "a run was not published");
        let command = Command::Abandon { claim: claim.id, record: Some(Box::new(record)) };
        match self.cluster.submit(command).await {
            Ok(_) => claim.settle(),
            // Dropping the claim tries once more; at worst it ends by itself.
            Err(e) => tracing::warn!(error = %e, "a failed run could not be logged"),
        }
        if outdated { Outcome::Outdated(error) } else { Outcome::Failed(error) }
    }
}

fn appended_before(work: &Work, key: &[u8]) -> Error {
    let key = key_text(&work.table, key);
    Error::invalid(format!("table '{}': a row with the key ({key}) was appended before: make the query give another key", work.table.name))
}

async fn each(mut batches: BoxStream<'static, Result<Vec<Row>>>, mut take: impl FnMut(Row) -> Result<()>) -> Result<()> {
    while let Some(rows) = batches.try_next().await? {
        rows.into_iter().try_for_each(&mut take)?;
    }
    Ok(())
}
