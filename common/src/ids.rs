//! Newtypes for every number that names or orders something. None is ever reused.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(n: $inner) -> Self {
                Self(n)
            }
        }
    };
}

number!(
    /// A table, raw or derived; given by the master.
    TableId(u64)
);
number!(
    /// A column family of one table.
    FamilyId(u32)
);
number!(
    /// A declared column of one table.
    ColumnId(u32)
);
number!(
    /// A contiguous row range of one table, with one owner.
    TabletId(u64)
);
number!(
    /// A tablet server; it keeps its id on its own volume.
    ServerId(u64)
);
number!(
    /// One life of a server process; grows with every start.
    Incarnation(u64)
);
number!(
    /// A monotonic owner number of a tablet that fences older writers.
    Epoch(u64)
);
number!(
    /// The order of row mutations within a tablet. 0 means "before everything".
    /// A derived table's seqs are its versions, given by the publishing Raft command.
    Seq(u64)
);
number!(
    /// The version of a table's schema and GC rules.
    SchemaVersion(u64)
);
number!(
    /// One attempt to compute some windows of one derived table.
    RunId(u64)
);
number!(
    /// A runner's exclusive right to some windows, numbered by Raft.
    ClaimId(u64)
);
number!(
    /// A change of tablets in several steps.
    ProcedureId(u64)
);

impl Seq {
    /// Before every mutation.
    pub const ZERO: Self = Self(0);
    /// After every mutation: "the newest visible".
    pub const MAX: Self = Self(u64::MAX);
}
