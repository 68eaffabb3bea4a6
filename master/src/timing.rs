//! Every period of the master, with its reason and its relation to its neighbours.

use std::time::Duration;

/// A tablet server reports at least this often.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a server may serve after sending the report that the leader answered: four lost heartbeats.
pub const LEASE: Duration = Duration::from_millis(2500);
/// What the leader waits beyond a lease before it takes a server for dead: covers the clocks' different rates.
pub const MARGIN: Duration = Duration::from_millis(500);
/// A server whose wall clock is further off than this is given no tablets.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(10);
/// How often the leader looks at everything even if nothing was reported.
pub const TICK: Duration = Duration::from_millis(250);
/// A tick that comes this late means that the leader itself was stopped: silence meanwhile proves nothing.
pub const LATE_TICK: Duration = Duration::from_secs(1);
/// A tablet that its server could not open is given to it again, with a higher epoch, after this long.
pub const RETRY_FAILED: Duration = Duration::from_secs(5);
/// An aborted run stays in the orders at least this long, so that rows staged late are dropped too.
pub const KEEP_ABORTED: Duration = Duration::from_secs(60);
/// How often the leader looks for tablets to split, merge or move.
pub const SIZING: Duration = Duration::from_secs(1);
/// A procedure whose tablets are not closed after this long is given up.
pub const PROCEDURE_PATIENCE: Duration = Duration::from_secs(60);
/// A snapshot whose tablets are not all flushed after this long is given up: a failover takes seconds, a full memtable less.
pub const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(300);
/// The state is copied to the object store at most this long after it changed.
pub const COPY_EVERY: Duration = Duration::from_secs(10);

const _: () = assert!(HEARTBEAT.as_millis() * 4 < LEASE.as_millis());
const _: () = assert!(MARGIN.as_millis() < LEASE.as_millis());
const _: () = assert!(TICK.as_millis() < HEARTBEAT.as_millis());
const _: () = assert!(LATE_TICK.as_millis() < LEASE.as_millis());
