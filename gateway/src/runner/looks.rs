//! The versions of tables without windows, raw and derived, as last looked at.

use super::query;
use crate::cluster::Cluster;
use crate::sql::Sql;
use common::Result;
use common::catalog::Catalog;
use common::ids::TableId;
use common::schema::{Table, TableKind};
use common::time::Micros;
use common::version::VersionMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// While a definition waits for its first build, its raw inputs are looked at this often: each look reads all event times.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// A table as last looked at.
#[derive(Clone, Debug)]
struct Looked {
    pin: VersionMap,
    /// `Some` once it was looked for at `pin` or before and lowered by all changes since.
    earliest: Option<Option<Micros>>,
    /// Monotonic.
    at: Duration,
}

/// What was seen of all of them.
#[derive(Default)]
pub struct Looks {
    seen: HashMap<TableId, Looked>,
}

impl Looks {
    /// The newest version seen.
    #[must_use]
    pub fn pin(&self, table: TableId) -> Option<&VersionMap> {
        self.seen.get(&table).map(|l| &l.pin)
    }

    /// Monotonic: when a table was looked at last; zero if never.
    #[must_use]
    pub fn at(&self, table: TableId) -> Duration {
        self.seen.get(&table).map_or(Duration::ZERO, |l| l.at)
    }

    /// See [`derived::due::Facts::earliest`].
    #[must_use]
    pub fn earliest(&self) -> BTreeMap<TableId, Micros> {
        self.seen.iter().filter_map(|(id, looked)| Some((*id, looked.earliest??))).collect()
    }

    /// Whether it is known where readers of a table begin.
    #[must_use]
    pub fn knows_earliest(&self, table: TableId) -> bool {
        self.seen.get(&table).is_some_and(|l| l.earliest.is_some())
    }

    /// Looks at a table; whether something is other than before. `first`: somebody has yet to learn where to begin.
    ///
    /// # Errors
    /// `Unavailable` and the like.
    pub async fn look(&mut self, cluster: &Cluster, sql: &Sql, catalog: &Catalog, table: &Arc<Table>, first: bool) -> Result<bool> {
        let at = cluster.clock().monotonic();
        let known = self.seen.get(&table.id);
        let is_raw = table.kind != TableKind::Derived;
        if is_raw && first && known.is_some_and(|l| l.earliest.is_some() && at < l.at + FIRST_LOOK) {
            return Ok(false);
        }
        let pin = match is_raw {
            true => cluster.snapshot(table).await?,
            false => VersionMap::whole(catalog.published(table.id).map(|p| p.version).unwrap_or_default()),
        };
        let mut earliest = known.and_then(|l| l.earliest);
        if first && (earliest.is_none() || known.is_none_or(|l| l.pin != pin)) {
            let context = sql.context(HashMap::from([(table.id, pin.clone())]))?;
            earliest = Some(query::earliest(&context, table).await?);
        }
        let is_same = known.is_some_and(|l| l.pin == pin && l.earliest == earliest);
        self.seen.insert(table.id, Looked { pin, earliest, at });
        Ok(!is_same)
    }

    /// A changed row may be earlier than all before it.
    pub fn lower_earliest(&mut self, table: TableId, changed: Option<Micros>) {
        let (Some(looked), Some(changed)) = (self.seen.get_mut(&table), changed) else { return };
        looked.earliest = match looked.earliest {
            // Looked for anew the next time.
            _ if changed == Micros::MIN => None,
            known => known.map(|known| Some(known.map_or(changed, |known| known.min(changed)))),
        };
    }

    /// Forgets tables that are no more.
    pub fn forget(&mut self, catalog: &Catalog) {
        self.seen.retain(|id, _| catalog.table_by_id(*id).is_some());
    }
}
