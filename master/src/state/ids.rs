use common::ids::{ClaimId, ProcedureId, RunId, ServerId, TableId, TabletId};
use serde::{Deserialize, Serialize};

/// The numbers given last, each counted from 1 and never given again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ids {
    table: TableId,
    tablet: TabletId,
    server: ServerId,
    claim: ClaimId,
    run: RunId,
    #[serde(default)]
    procedure: ProcedureId,
}

macro_rules! counters {
    ($($name:ident: $id:ident),* $(,)?) => {
        impl Ids {
            $(
                pub(super) fn $name(&mut self) -> $id {
                    self.$name = self.$name.next();
                    self.$name
                }
            )*
        }
    };
}

counters!(table: TableId, tablet: TabletId, server: ServerId, claim: ClaimId, run: RunId, procedure: ProcedureId);

impl Ids {
    /// Goes on `far` above all that was given, and above these.
    pub(super) fn skip(&mut self, (table, tablet, server): (TableId, TabletId, ServerId), far: u64) {
        self.table = TableId(self.table.max(table).0 + far);
        self.tablet = TabletId(self.tablet.max(tablet).0 + far);
        self.server = ServerId(self.server.max(server).0 + far);
        self.claim = ClaimId(self.claim.0 + far);
        self.run = RunId(self.run.0 + far);
        self.procedure = ProcedureId(self.procedure.0 + far);
    }

    /// Whether this run was ever given.
    pub(super) fn has_run(&self, run: RunId) -> bool {
        RunId(0) < run && run <= self.run
    }
}
