//! What must hold of everything that was seen, each rule in one place.

use crate::clients::TABLE;
use crate::linear;
use crate::witness::{Ack, Process, Seen};
use bytes::Bytes;
use common::catalog::{Catalog, Tablet};
use common::ids::{Epoch, TableId, TabletId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What the rows hold at the end, when nothing was under way.
#[derive(Clone, Debug, Default)]
pub struct Last {
    /// List and register of each row that is changed often.
    pub rows: BTreeMap<Bytes, (Vec<u64>, u64)>,
    /// Rows that are written once.
    pub puts: BTreeMap<Bytes, Bytes>,
}

/// Everything that does not hold.
#[must_use]
pub fn all(seen: &Seen, last: &Last) -> Vec<String> {
    let mut wrong = seen.wrong.clone();
    wrong.extend(rows(seen, last));
    wrong.extend(puts(seen, last));
    wrong.extend(numbers(&seen.acks));
    wrong.extend(owners(&seen.acks, &seen.catalogs));
    wrong.extend(catalogs(&seen.catalogs));
    wrong.extend(epochs(&seen.manifests));
    wrong.extend(logs(seen));
    wrong
}

fn name(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

/// Each row's operations fit one order.
fn rows(seen: &Seen, last: &Last) -> Vec<String> {
    let check = |(key, history): (&Bytes, &Vec<linear::Event>)| {
        let (list, register) = last.rows.get(key).cloned().unwrap_or_default();
        linear::check(history, (&list, register)).err().map(|e| format!("row '{}': {e}", name(key)))
    };
    seen.rows.iter().filter_map(check).collect()
}

/// What was acknowledged is there, and nothing that nobody wrote.
fn puts(seen: &Seen, last: &Last) -> Vec<String> {
    let lost = seen.puts.iter().filter(|(key, put)| put.acked.is_some() && last.puts.get(*key) != Some(&put.value));
    let lost = lost.map(|(key, put)| {
        let there = last.puts.get(key).map_or("nothing".into(), |v| format!("'{}'", name(v)));
        format!("row '{}' was acknowledged at {:?} with '{}', but there is {there}", name(key), put.acked, name(&put.value))
    });
    let strange = last.puts.iter().filter(|(key, value)| seen.puts.get(*key).map(|put| &put.value) != Some(*value));
    let strange = strange.map(|(key, value)| format!("row '{}' has '{}', which nobody wrote", name(key), name(value)));
    lost.chain(strange).collect()
}

/// The numbers of a row's writes: none is given twice, later writes have higher ones, and lists grow in their order.
fn numbers(acks: &[Ack]) -> Vec<String> {
    let mut by_row: BTreeMap<&Bytes, Vec<&Ack>> = BTreeMap::new();
    for ack in acks {
        by_row.entry(&ack.key).or_default().push(ack);
    }
    by_row.into_values().flat_map(numbers_of_row).collect()
}

fn numbers_of_row(mut acks: Vec<&Ack>) -> Vec<String> {
    acks.sort_by_key(|a| a.seq);
    let mut wrong = Vec::new();
    let (mut latest_sent, mut longest) = (Duration::ZERO, 0);
    for (i, ack) in acks.iter().enumerate() {
        let row = name(&ack.key);
        if i > 0 && acks[i - 1].seq == ack.seq {
            wrong.push(format!("row '{row}': seq {} was given twice: {:?} and {ack:?}", ack.seq, acks[i - 1]));
        }
        // Of what has a lower number, nothing may have begun after this had ended.
        if latest_sent > ack.answered {
            wrong.push(format!(
                "row '{row}': seq {} was acknowledged at {:?}, before a lower one was sent at {latest_sent:?}",
                ack.seq, ack.answered
            ));
        }
        latest_sent = latest_sent.max(ack.sent);
        if let Some(length) = ack.length {
            if length <= longest {
                wrong.push(format!("row '{row}': at seq {} the list has {length} tokens, at a lower one {longest}", ack.seq));
            }
            longest = length;
        }
    }
    wrong
}

/// A tablet gives each number to one row: two owners at once would give it to two.
fn owners(acks: &[Ack], catalogs: &BTreeMap<u64, Arc<Catalog>>) -> Vec<String> {
    let mut tablets: BTreeMap<&Bytes, BTreeSet<TabletId>> = BTreeMap::new();
    for ack in acks {
        // Rows whose tablet was never cut or merged: ids are not used again, so who has the same one always had it.
        tablets.entry(&ack.key).or_insert_with(|| {
            let holds = |t: &&Tablet| t.range.contains(&ack.key);
            let of = |c: &Arc<Catalog>| c.table(TABLE).and_then(|table| c.tablets_of(table.id).iter().find(holds)).map(|t| t.id);
            catalogs.values().filter_map(of).collect()
        });
    }
    let mut given: BTreeMap<(TabletId, u64), &Ack> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ack in acks {
        let Some(tablet) = tablets.get(&ack.key).filter(|t| t.len() == 1).and_then(|t| t.first()) else { continue };
        if let Some(other) = given.insert((*tablet, ack.seq), ack) {
            wrong.push(format!("tablet {tablet} gave seq {} twice: {other:?} and {ack:?}", ack.seq));
        }
    }
    wrong
}

/// No table is lost, tablets tile their tables, epochs never fall.
fn catalogs(catalogs: &BTreeMap<u64, Arc<Catalog>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut epochs: BTreeMap<TabletId, Epoch> = BTreeMap::new();
    let mut tables: Vec<TableId> = Vec::new();
    for (version, catalog) in catalogs {
        let lost = tables.iter().filter(|id| catalog.table_by_id(**id).is_none());
        wrong.extend(lost.map(|id| format!("catalog {version}: table {id} is lost")));
        tables = catalog.tables.iter().map(|t| t.id).collect();
        for table in catalog.tables.iter() {
            let tablets = catalog.tablets_of(table.id);
            wrong.extend(gap(tablets).map(|gap| format!("catalog {version}: table '{}' {gap}", table.name)));
        }
        for tablet in catalog.tablets.iter() {
            let before = epochs.insert(tablet.id, tablet.epoch);
            if before.is_some_and(|before| before > tablet.epoch) {
                wrong.push(format!("catalog {version}: the epoch of tablet {} falls from {before:?} to {:?}", tablet.id, tablet.epoch));
            }
        }
    }
    wrong
}

/// Where tablets in key order leave a key out or have it twice.
fn gap(tablets: &[Tablet]) -> Option<String> {
    let mut next = Some(Bytes::new());
    for tablet in tablets {
        if next.as_ref() != Some(&tablet.range.start) {
            return Some(format!("has tablet {} at '{}' instead of {next:?}", tablet.id, name(&tablet.range.start)));
        }
        next = tablet.range.end.clone();
    }
    next.map(|end| format!("ends at '{}'", name(&end)))
}

/// An epoch has one owner, and manifests are put in the order of epochs.
fn epochs(manifests: &BTreeMap<(TabletId, u64), (Epoch, Process)>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut owners: BTreeMap<(TabletId, Epoch), &Process> = BTreeMap::new();
    let mut newest: BTreeMap<TabletId, Epoch> = BTreeMap::new();
    for ((tablet, number), (epoch, by)) in manifests {
        let before = newest.insert(*tablet, *epoch);
        if before.is_some_and(|before| before > *epoch) {
            wrong.push(format!("tablet {tablet}: manifest {number} of {by:?} has epoch {epoch}, an earlier one {before:?}"));
        }
        // Masters make the first manifests of new tablets, and end old ones.
        if by.0.starts_with("server") {
            let owner = *owners.entry((*tablet, *epoch)).or_insert(by);
            if owner != by {
                wrong.push(format!("tablet {tablet}: both {owner:?} and {by:?} have put manifests at epoch {epoch}"));
            }
        }
    }
    wrong
}

/// A life's log has one writer; others may end it, with one object.
fn logs(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    for (log, objects) in &seen.logs {
        let mut written: BTreeMap<&Process, usize> = BTreeMap::new();
        objects.values().for_each(|by| *written.entry(by).or_default() += 1);
        let owner = objects.values().next();
        let strange = written.into_iter().filter(|(by, count)| Some(*by) != owner && *count > 1);
        wrong.extend(strange.map(|(by, count)| format!("log {log:?} is {owner:?}'s, but {by:?} put {count} objects into it")));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::Put;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ack(seq: u64, sent: u64, answered: u64, length: Option<usize>) -> Ack {
        Ack { key: "r".into(), seq, sent: at(sent), answered: at(answered), length }
    }

    #[test]
    fn numbers_follow_real_time_and_are_given_once() {
        let right = [ack(1, 0, 10, Some(1)), ack(3, 5, 12, Some(2)), ack(2, 11, 20, None)];
        assert_eq!(numbers(&right[..2]), Vec::<String>::new());
        assert_eq!(numbers(&[ack(1, 0, 10, None), ack(2, 0, 10, None), ack(3, 11, 12, None)]), Vec::<String>::new());
        assert!(numbers(&[ack(1, 0, 10, None), ack(1, 20, 30, None)])[0].contains("given twice"));
        assert!(numbers(&[ack(2, 0, 10, None), ack(1, 20, 30, None)])[0].contains("before a lower one"));
        assert!(numbers(&[ack(1, 0, 10, Some(2)), ack(2, 0, 10, Some(2))])[0].contains("tokens"));
    }

    #[test]
    fn an_acknowledged_row_is_there_and_no_other() {
        let mut seen = Seen::default();
        seen.puts.insert("a".into(), Put { value: "1".into(), acked: Some(at(5)) });
        seen.puts.insert("b".into(), Put { value: "2".into(), acked: None });
        let last = |rows: &[(&'static str, &'static str)]| {
            let puts = rows.iter().map(|(k, v)| (Bytes::from_static(k.as_bytes()), Bytes::from_static(v.as_bytes()))).collect();
            Last { puts, ..Last::default() }
        };
        for right in [&[("a", "1")][..], &[("a", "1"), ("b", "2")]] {
            assert_eq!(puts(&seen, &last(right)), Vec::<String>::new());
        }
        for wrong in [&[][..], &[("a", "2")], &[("a", "1"), ("c", "1")], &[("a", "1"), ("b", "1")]] {
            assert!(!puts(&seen, &last(wrong)).is_empty(), "{wrong:?}");
        }
    }

    #[test]
    fn an_epoch_has_one_owner_and_never_falls() {
        let put = |number, epoch, host: &str| ((TabletId(7), number), (Epoch(epoch), (host.to_owned(), 1)));
        let check = |puts: &[_]| epochs(&puts.iter().cloned().collect());
        assert!(check(&[put(1, 1, "server-1"), put(2, 1, "server-1"), put(3, 2, "server-2")]).is_empty());
        assert!(check(&[put(1, 1, "server-1"), put(2, 1, "server-2")])[0].contains("both"));
        assert!(check(&[put(1, 2, "server-1"), put(2, 1, "server-2")])[0].contains("an earlier one"));
    }

    #[test]
    fn tablets_leave_no_key_out() {
        let tablet = |id, start: &'static str, end: Option<&'static str>| Tablet {
            id: TabletId(id),
            table: TableId(1),
            range: common::key::KeyRange::new(start, end.map(Bytes::from)),
            epoch: Epoch(1),
            server: None,
            open: false,
        };
        let (low, high) = (tablet(1, "", Some("m")), tablet(2, "m", None));
        assert_eq!(gap(&[low.clone(), high.clone()]), None);
        for wrong in [vec![low.clone()], vec![high.clone()], vec![], vec![high, low]] {
            assert!(gap(&wrong).is_some(), "{wrong:?}");
        }
    }
}
