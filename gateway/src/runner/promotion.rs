//! When what was built beside production takes its place.

use common::catalog::{Catalog, Definition};
use common::environment::{NEXT, split};
use common::rpc::master::Command;
use common::time::Micros;
use common::version::RangeSet;
use derived::due::{Decider, Decision};

/// The command that puts the changes under construction into production; `None` if there are none, or they have not caught up.
#[must_use]
pub fn ready(catalog: &Catalog, decisions: &Decider) -> Option<Command> {
    ready_by(catalog, |table| decisions.of(table))
}

fn ready_by<'a>(catalog: &Catalog, decision: impl Fn(&str) -> Option<&'a Decision>) -> Option<Command> {
    let built: Vec<_> = catalog.definitions.values().filter(|d| d.environment() == NEXT).collect();
    let caught_up = built.iter().all(|d| has_caught_up(catalog, decision(&d.name), d));
    let expected = built.iter().map(|d| (d.name.clone(), d.fingerprint.clone())).collect();
    (!built.is_empty() && caught_up).then(|| Command::Promote { environment: NEXT.to_owned(), expected })
}

/// Whether one serves all that what it replaces does. What is newly due of it is due of the other too.
fn has_caught_up(catalog: &Catalog, decision: Option<&Decision>, new: &Definition) -> bool {
    let Some(decision) = decision else { return false };
    let plain = split(&new.name).1;
    let serving = catalog.definition(&plain).and_then(|old| catalog.published(old.table)).filter(|old| old.version.0 > 0);
    let Some(serving) = serving else { return true };
    let Some(published) = catalog.published(new.table).filter(|p| p.version.0 > 0) else { return false };
    let wanted = RangeSet::of(decision.start.unwrap_or(Micros::MIN), Micros::MAX).intersect(&serving.windows);
    published.forced.is_empty() && wanted.subtract(&published.windows).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::catalog::Published;
    use common::ids::{Seq, TableId};
    use std::sync::Arc;

    const OLD: TableId = TableId(1);
    const NEW: TableId = TableId(2);

    fn defining(tables: &[(&str, TableId)]) -> Catalog {
        let (document, applied_at) = (String::new(), Micros(0));
        let definition = |&(name, table): &(&str, TableId)| {
            let (document, fingerprint) = (document.clone(), name.to_owned());
            (name.to_owned(), Arc::new(Definition { name: name.into(), table, document, fingerprint, paused: false, applied_at }))
        };
        Catalog { definitions: tables.iter().map(definition).collect(), ..Catalog::default() }
    }

    fn published(table: TableId, windows: &[(i64, i64)], forced: &[(i64, i64)]) -> Published {
        let ranges = |of: &[(i64, i64)]| of.iter().map(|&(s, e)| (Micros(s), Micros(e))).collect::<RangeSet>();
        Published {
            table,
            version: Seq(7),
            published_at: Micros(0),
            windows: ranges(windows),
            complete: RangeSet::empty(),
            forced: ranges(forced),
            inputs: Vec::new(),
            claimed: RangeSet::empty(),
            runs: Vec::new(),
        }
    }

    /// Whether `app.a` of `next` would take the place of one that serves 0..10.
    fn is_ready(new: Option<Published>, start: Option<i64>) -> bool {
        let published = [Some(published(OLD, &[(0, 10)], &[])), new].into_iter().flatten().map(|p| (p.table, Arc::new(p))).collect();
        let catalog = Catalog { published, ..defining(&[("app.a", OLD), ("app__next.a", NEW)]) };
        let decision = Decision {
            table: "app__next.a".into(),
            due: RangeSet::empty(),
            runs: Vec::new(),
            waits: Vec::new(),
            start: start.map(Micros),
            watermark: None,
        };
        match ready_by(&catalog, |_| Some(&decision)) {
            None => false,
            Some(Command::Promote { environment, expected }) => {
                assert_eq!((environment.as_str(), expected), (NEXT, vec![("app__next.a".into(), "app__next.a".into())]));
                true
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_built_takes_its_place_once_it_has_every_window_of_what_serves() {
        assert!(!is_ready(None, None), "nothing was built");
        assert!(!is_ready(Some(published(NEW, &[(0, 9)], &[])), None));
        assert!(!is_ready(Some(published(NEW, &[(0, 4), (5, 10)], &[])), None), "a gap");
        assert!(!is_ready(Some(published(NEW, &[(0, 10)], &[(3, 4)])), None), "a window is due by force");
        assert!(is_ready(Some(published(NEW, &[(0, 10)], &[])), None));
        assert!(is_ready(Some(published(NEW, &[(-5, 20)], &[])), None));
    }

    #[test]
    fn windows_before_its_start_are_not_waited_for() {
        assert!(!is_ready(Some(published(NEW, &[(5, 10)], &[])), Some(4)));
        assert!(is_ready(Some(published(NEW, &[(5, 10)], &[])), Some(5)));
    }

    #[test]
    fn without_changes_under_construction_nothing_is_promoted() {
        assert!(ready(&defining(&[("app.a", OLD), ("app__dev.a", NEW)]), &Decider::default()).is_none());
    }
}
