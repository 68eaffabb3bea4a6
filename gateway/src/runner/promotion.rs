//! When what was built beside production takes its place.

use common::catalog::{Catalog, Definition};
use common::environment::{NEXT, split};
use common::rpc::master::Command;
use common::time::Micros;
use common::version::RangeSet;
use derived::due::Decision;

/// The command that puts the changes under construction into production; `None` if there are none, or they have not caught up.
#[must_use]
pub fn ready(catalog: &Catalog, decisions: &[Decision]) -> Option<Command> {
    let built: Vec<_> = catalog.definitions.iter().filter(|d| d.environment() == NEXT).collect();
    let caught_up = built.iter().all(|d| has_caught_up(catalog, decisions, d));
    let expected = built.iter().map(|d| (d.name.clone(), d.fingerprint.clone())).collect();
    (!built.is_empty() && caught_up).then(|| Command::Promote { environment: NEXT.to_owned(), expected })
}

/// Whether one serves all that what it replaces does. What is newly due of it is due of the other too.
fn has_caught_up(catalog: &Catalog, decisions: &[Decision], new: &Definition) -> bool {
    let Some(decision) = decisions.iter().find(|d| d.table == new.name) else { return false };
    let plain = split(&new.name).1;
    let serving = catalog.definition(&plain).and_then(|old| catalog.published(old.table)).filter(|old| old.version.0 > 0);
    let Some(serving) = serving else { return true };
    let Some(published) = catalog.published(new.table).filter(|p| p.version.0 > 0) else { return false };
    let wanted = RangeSet::of(decision.start.unwrap_or(Micros::MIN), Micros::MAX).intersect(&serving.windows);
    published.forced.is_empty() && wanted.subtract(&published.windows).is_empty()
}
