//! The only way from a gateway to the cluster, for REST, SQL and the runner alike.
//!
//! [`Cluster`] follows the master's catalog, routes by its tablets and hides moves, restarts and
//! back-pressure for a bounded time. Parts, one way: `patience`, `hedge`, `channels`, `view` → `master` →
//! `call` → `version` → `router` → `conditional`, `delete`, `rows`, `scan`, `stage`.

mod call;
mod channels;
mod conditional;
mod delete;
mod hedge;
mod master;
mod patience;
mod router;
mod rows;
mod scan;
mod stage;
#[cfg(test)]
mod tests;
mod version;
mod view;

use arrow::record_batch::RecordBatch;
use channels::Channels;
use common::catalog::{Catalog, Tablet};
use common::ids::{RunId, Seq};
use common::key::KeyRange;
use common::row::{Committed, ReadSpec, Row, RowMutation};
use common::rpc::master::{Command, Reply};
use common::rpc::tablet::{Conditional, ConditionalResponse, StatusResponse};
use common::schema::{Table, TableKind};
use common::surroundings::Surroundings;
use common::time::SharedClock;
use common::version::VersionMap;
use common::{Error, Result};
use futures::stream::BoxStream;
use hedge::Hedge;
use master::MasterClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use view::View;
#[cfg(feature = "server")]
pub(crate) use view::near;

/// How long a gateway that starts waits for its first catalog.
const FIRST_CATALOG: Duration = Duration::from_secs(30);
/// How long a command's effect may take to show in the own catalog view.
const VIEW_LAG: Duration = Duration::from_secs(10);

/// A connection to all of a cluster. Cheap to share: hold it in an [`Arc`].
#[derive(Debug)]
pub struct Cluster {
    master: MasterClient,
    view: watch::Receiver<Arc<View>>,
    channels: Channels,
    hedge: Hedge,
    clock: SharedClock,
    parts: stage::Parts,
    _follower: AbortOnDropHandle<()>,
}

impl Cluster {
    /// Connects to the masters at `host:port` addresses and follows their catalog from now on.
    ///
    /// # Errors
    /// `InvalidArgument` for an address that is none, `Unavailable` if no master shows its catalog within 30 s.
    pub async fn connect(masters: &[String], clock: SharedClock) -> Result<Arc<Self>> {
        Self::connect_in(masters, &Surroundings::machine(clock), None).await
    }

    /// As [`Self::connect`], in these surroundings; reads of rows that are not answered after `hedge_after` are sent a second time.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_in(masters: &[String], around: &Surroundings, hedge_after: Option<Duration>) -> Result<Arc<Self>> {
        let channels = Channels::new(around.net.clone());
        let master = MasterClient::new(masters, &channels)?;
        let (sender, mut view) = watch::channel(Arc::new(View::default()));
        let follower = AbortOnDropHandle::new(tokio::spawn(master::follow(master.clone(), sender)));
        let seen = matches!(tokio::time::timeout(FIRST_CATALOG, view.wait_for(|v| v.catalog().version > 0)).await, Ok(Ok(_)));
        if !seen {
            return Err(Error::unavailable(format!("no master at {} shows its catalog: is one running?", masters.join(", "))));
        }
        Ok(Arc::new(Self {
            master,
            view,
            channels,
            hedge: Hedge::new(hedge_after),
            clock: around.clock.clone(),
            parts: stage::Parts::default(),
            _follower: follower,
        }))
    }

    fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// The clock that everything at this gateway goes by.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The catalog as last seen.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.view.borrow().catalog().clone()
    }

    /// Waits until the catalog is of at least this version; if the cluster is going down, the newest one seen.
    pub async fn catalog_at_least(&self, version: u64) -> Arc<Catalog> {
        let mut view = self.view.clone();
        let seen = view.wait_for(|v| v.catalog().version >= version).await.map(|v| v.catalog().clone());
        seen.unwrap_or_else(|_| self.catalog())
    }

    /// Waits until the catalog is newer than this version; if the cluster is going down, the newest one seen.
    pub async fn catalog_after(&self, version: u64) -> Arc<Catalog> {
        self.catalog_at_least(version.saturating_add(1)).await
    }

    /// The table of this name.
    ///
    /// # Errors
    /// `NotFound`, with the names that come close.
    pub fn table(&self, name: &str) -> Result<Arc<Table>> {
        self.view.borrow().table(name)
    }

    /// The table of this name, which clients may write.
    ///
    /// # Errors
    /// As [`Self::table`]; `FailedPrecondition` for one that only Stele writes.
    pub fn writable(&self, name: &str) -> Result<Arc<Table>> {
        let table = self.table(name)?;
        match table.kind {
            TableKind::Raw => Ok(table),
            TableKind::Derived => Err(Error::refused(format!("'{name}' is a derived table: only its runs write it; write what it reads"))),
            TableKind::System => Err(Error::refused(format!("'{name}' is a system table: only Stele writes it"))),
        }
    }

    /// All tables, by name.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<Table>> {
        self.view.borrow().tables()
    }

    /// The tablets of a table that meet any of `ranges`, in key order.
    ///
    /// # Errors
    /// `NotFound` if the table is gone.
    pub fn tablets_in(&self, table: &Table, ranges: &[KeyRange]) -> Result<Vec<Tablet>> {
        let meets = |t: &&Tablet| ranges.iter().any(|r| r.intersect(&t.range).is_some());
        Ok(self.view().tablets(table)?.iter().filter(meets).cloned().collect())
    }

    /// A version of those parts of a table that meet `ranges`; elsewhere it may say nothing.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub async fn snapshot_in(&self, table: &Table, ranges: &[KeyRange]) -> Result<VersionMap> {
        version::snapshot_of(self, table, ranges).await
    }

    /// Sends a command to the leading master and returns once the own catalog view shows its effect.
    ///
    /// # Errors
    /// The master's own; `Unavailable` if no leader answers, when a command that is not harmless to repeat may have been carried out.
    pub async fn submit(&self, command: Command) -> Result<Reply> {
        let reply = self.master.submit(&command).await?;
        let version = match &reply {
            Reply::Done { catalog } | Reply::Table { catalog, .. } | Reply::Published { catalog, .. } => *catalog,
            Reply::Catalog(catalog) => catalog.version,
            _ => return Ok(reply),
        };
        match tokio::time::timeout(VIEW_LAG, self.catalog_at_least(version)).await {
            Ok(_) => Ok(reply),
            Err(_) => Err(Error::unavailable(format!("the command was carried out, but catalog version {version} has not been seen yet"))),
        }
    }

    /// Writes rows, each by itself; one result a row, in order. A row that is `Ok` is durable and visible.
    /// Moves and back-pressure are waited out for about ten seconds.
    ///
    /// # Errors
    /// `NotFound` if the table is gone. All else is in the rows' results.
    pub async fn write(&self, table: &Table, rows: Vec<RowMutation>) -> Result<Vec<Result<Committed>>> {
        router::write(self, table, rows, false).await
    }

    /// Deletes all rows of key ranges; how many parts of tablets that was. Each part goes at once, not all of them together.
    /// Moves and back-pressure are waited out for about ten seconds.
    ///
    /// # Errors
    /// `NotFound` if the table is gone, `FailedPrecondition` if it takes no deletes, `Unavailable` and others after some parts
    /// may have been deleted: the same again deletes the rest.
    pub async fn delete(&self, table: &Table, ranges: Vec<KeyRange>) -> Result<usize> {
        delete::delete(self, table, ranges).await
    }

    /// [`Self::write`] into tables that only Stele writes.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_internal(&self, table: &Table, rows: Vec<RowMutation>) -> Result<Vec<Result<Committed>>> {
        router::write(self, table, rows, true).await
    }

    /// A write of one row that depends on what the row holds; it is decided once, however often it has to be sent.
    ///
    /// # Errors
    /// The engine's refusals; `NotFound` if the table is gone; `Unavailable` if it is not known whether it was done.
    pub async fn write_conditionally(&self, table: &Table, wanted: &Conditional) -> Result<ConditionalResponse> {
        conditional::write(self, table, wanted).await
    }

    /// What can be read now: one seq a tablet for raw tables, the published version for derived ones.
    ///
    /// # Errors
    /// `NotFound` if the table is gone, `Unavailable` if a tablet stays unreachable.
    pub async fn snapshot(&self, table: &Table) -> Result<VersionMap> {
        version::snapshot(self, table).await
    }

    /// The rows of `spec` in key order (largest first if it says so), over all tablets that it meets.
    /// Without `at`, the newest: of a raw table as each tablet shows it when its turn comes, of a derived table at one version.
    pub fn read(self: &Arc<Self>, table: &Arc<Table>, spec: ReadSpec, at: Option<VersionMap>) -> BoxStream<'static, Result<Vec<Row>>> {
        rows::read(self.clone(), table.clone(), spec, at)
    }

    /// Named columns of the rows of `spec` as Arrow, tablet after tablet in key order. Without `at`, as [`Self::read`].
    pub fn scan(
        self: &Arc<Self>,
        table: &Arc<Table>,
        columns: Vec<String>,
        spec: ReadSpec,
        at: Option<VersionMap>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        scan::scan(self.clone(), table.clone(), columns, spec, at)
    }

    /// [`Self::scan`] of one tablet: the part of `spec` that it holds.
    pub fn scan_tablet(
        self: &Arc<Self>,
        table: &Arc<Table>,
        tablet: &Tablet,
        columns: Vec<String>,
        spec: ReadSpec,
        at: Option<VersionMap>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        scan::scan_tablet(self.clone(), table.clone(), tablet.clone(), columns, spec, at)
    }

    /// The rows that changed between two versions, as Arrow: the asked columns and [`common::rpc::tablet::IMAGE_COLUMN`].
    pub fn changes(
        self: &Arc<Self>,
        table: &Arc<Table>,
        columns: Vec<String>,
        from: &VersionMap,
        to: &VersionMap,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        scan::changes(self.clone(), table.clone(), columns, from, to)
    }

    /// Stages rows of a run at their tablets: durable, invisible. May be called several times for one run.
    ///
    /// # Errors
    /// `Unavailable` if a tablet stays unreachable, and the tablets' own refusals.
    pub async fn stage(&self, table: &Table, run: RunId, rows: Vec<RowMutation>) -> Result<()> {
        stage::stage(self, table, run, rows).await
    }

    /// Tells all tablets of a derived table that these runs were published, oldest first. The master sees to it as
    /// well: this only makes it sooner.
    ///
    /// # Errors
    /// `Unavailable` if a tablet stays unreachable.
    pub async fn apply(&self, table: &Table, runs: &[(RunId, Seq)]) -> Result<()> {
        stage::apply(self, table, runs).await
    }

    /// Drops what a run has staged.
    ///
    /// # Errors
    /// `Unavailable` if a tablet stays unreachable.
    pub async fn drop_staged(&self, table: &Table, run: RunId) -> Result<()> {
        stage::drop_staged(self, table, run).await
    }

    /// The state of each of a table's tablets, in key order.
    ///
    /// # Errors
    /// `Unavailable` if a tablet stays unreachable.
    pub async fn status(&self, table: &Table) -> Result<Vec<(Tablet, StatusResponse)>> {
        version::status(self, table).await
    }
}
