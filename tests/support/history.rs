//! Recorded histories of one row, and whether they are linearizable.
//!
//! Every value that is written is unique, so the order of the writes that took effect is known from the values alone, and
//! checking is exact and fast: no search through orders is needed.
//!
//! - A *list* is appended to; its final value is the order. An append's answer and a read show a prefix of it.
//! - A *register* changes from one unique value to the next; who followed whom is the order.
//!
//! Then real time is laid over the order: a position is the earliest moment at which the write can have taken effect, given all
//! that was seen before; no operation may have ended before something that it shows, nor begun after something that it
//! does not.

use std::collections::BTreeMap;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Append this token to the list.
    Append(u64),
    /// Change the register from the first value, if it has it, to the second. 0 is no value.
    Swap(u64, u64),
    /// Read both.
    Read,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The list with the own token at its end.
    Appended(Vec<u64>),
    /// Whether the register was changed.
    Swapped(bool),
    /// List and register.
    Seen(Vec<u64>, u64),
    /// Nobody knows whether it was done, now or later.
    Unknown,
}

/// An operation with its answer.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was sent.
    pub sent: Duration,
    /// When it was answered.
    pub answered: Duration,
    /// What was asked.
    pub op: Op,
    /// What was answered.
    pub answer: Answer,
}

/// Checks the history of one row; `last` is what it holds in the end, read when nothing was under way.
pub fn check(history: &[Event], last: (&[u64], u64)) -> Result<(), String> {
    check_list(history, last.0)?;
    check_register(history, last.1)
}

/// One write that took effect: what may be said of its moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Not before it was sent, nor before what it follows.
    earliest: Duration,
    /// Not after it was answered; `MAX` if it was not.
    latest: Duration,
}

/// An observation: at some moment from `sent` to `answered` exactly the first `shown` writes had taken effect.
struct Seen {
    shown: usize,
    sent: Duration,
    answered: Duration,
}

/// Whether moments can be chosen that fit all observations, each write after the one before it.
fn fit(moments: &mut [Moment], seen: &[Seen], what: &str) -> Result<(), String> {
    let mut after: BTreeMap<usize, Duration> = BTreeMap::new();
    for s in seen {
        // The write behind what was shown had not taken effect when this was sent.
        let bound = after.entry(s.shown).or_default();
        *bound = (*bound).max(s.sent);
    }
    let mut floor = Duration::ZERO;
    for (i, m) in moments.iter_mut().enumerate() {
        floor = floor.max(after.get(&i).copied().unwrap_or_default());
        m.earliest = m.earliest.max(floor);
        floor = m.earliest;
        if m.earliest > m.latest {
            return Err(format!("{what}: write {i} was answered at {:?} but can have taken effect at {:?} only", m.latest, m.earliest));
        }
    }
    for s in seen {
        if let Some(m) = s.shown.checked_sub(1).and_then(|i| moments.get(i))
            && m.earliest > s.answered
        {
            return Err(format!(
                "{what}: an answer at {:?} shows write {}, which took effect at {:?} or later",
                s.answered,
                s.shown - 1,
                m.earliest
            ));
        }
    }
    Ok(())
}

fn check_list(history: &[Event], last: &[u64]) -> Result<(), String> {
    let places: BTreeMap<u64, usize> = last.iter().enumerate().map(|(i, token)| (*token, i)).collect();
    if places.len() != last.len() {
        return Err(format!("a token is in the list twice: {last:?}"));
    }
    let mut moments = vec![Moment { earliest: Duration::ZERO, latest: Duration::MAX }; last.len()];
    let mut seen = Vec::new();
    let mut known = 0;
    for e in history {
        let token = match (&e.op, &e.answer) {
            (Op::Append(token), _) => *token,
            (_, Answer::Seen(list, _)) => {
                prefix(list, last)?;
                seen.push(Seen { shown: list.len(), sent: e.sent, answered: e.answered });
                continue;
            }
            _ => continue,
        };
        let Some(&place) = places.get(&token) else {
            if e.answer != Answer::Unknown {
                return Err(format!("append of {token} was acknowledged and is lost"));
            }
            continue;
        };
        known += 1;
        moments[place].earliest = e.sent;
        if let Answer::Appended(list) = &e.answer {
            prefix(list, last)?;
            if list.last() != Some(&token) || list.len() != place + 1 {
                return Err(format!("append of {token} was answered with {list:?}, but it is at place {place}"));
            }
            moments[place].latest = e.answered;
        }
    }
    if known != last.len() {
        return Err(format!("the list has {} tokens, {known} of which were appended", last.len()));
    }
    fit(&mut moments, &seen, "list")
}

fn prefix(list: &[u64], of: &[u64]) -> Result<(), String> {
    if of.starts_with(list) { Ok(()) } else { Err(format!("{list:?} is no prefix of the final list {of:?}")) }
}

fn check_register(history: &[Event], last: u64) -> Result<(), String> {
    let order = order_of_values(history, last)?;
    let places: BTreeMap<u64, usize> = order.iter().enumerate().map(|(i, value)| (*value, i + 1)).chain([(0, 0)]).collect();
    let mut moments = vec![Moment { earliest: Duration::ZERO, latest: Duration::MAX }; order.len()];
    let mut seen = Vec::new();
    for e in history {
        match (&e.op, &e.answer) {
            (Op::Swap(from, to), answer) => {
                let Some(&place) = places.get(to) else {
                    if *answer == Answer::Swapped(true) {
                        return Err(format!("the change from {from} to {to} was acknowledged and is lost"));
                    }
                    continue;
                };
                if *answer == Answer::Swapped(false) {
                    return Err(format!("the change from {from} to {to} was answered as not done, and was"));
                }
                if places.get(from) != Some(&(place - 1)) {
                    return Err(format!("the change from {from} to {to} was done on another value"));
                }
                moments[place - 1].earliest = e.sent;
                if *answer == Answer::Swapped(true) {
                    moments[place - 1].latest = e.answered;
                }
            }
            (_, Answer::Seen(_, value)) => {
                let shown = *places.get(value).ok_or_else(|| format!("{value} was read, but is not among what the register had"))?;
                seen.push(Seen { shown, sent: e.sent, answered: e.answered });
            }
            _ => {}
        }
    }
    fit(&mut moments, &seen, "register")?;
    refused_rightly(history, &places, &moments)
}

/// The register's values in order: from the last one back to none. Who is asked to follow `v` and does is the only one.
fn order_of_values(history: &[Event], last: u64) -> Result<Vec<u64>, String> {
    let from: BTreeMap<u64, u64> =
        history.iter().filter_map(|e| if let Op::Swap(from, to) = e.op { Some((to, from)) } else { None }).collect();
    let (mut order, mut at) = (Vec::new(), last);
    while at != 0 {
        if order.len() > from.len() {
            return Err(format!("the register's values go in a circle at {at}"));
        }
        order.push(at);
        at = *from.get(&at).ok_or_else(|| format!("the register had {at}, which nobody wrote"))?;
    }
    order.reverse();
    Ok(order)
}

/// A change that was answered as not done must have met another value: the one it asked for was, whoever asked had seen
/// it, replaced before the answer at the latest.
fn refused_rightly(history: &[Event], places: &BTreeMap<u64, usize>, moments: &[Moment]) -> Result<(), String> {
    for e in history {
        let (Op::Swap(from, to), Answer::Swapped(false)) = (&e.op, &e.answer) else { continue };
        let Some(&place) = places.get(from) else { continue };
        if moments.get(place).is_none_or(|next| next.earliest > e.answered) {
            return Err(format!("the change from {from} to {to} was refused while the register had {from}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sent: u64, answered: u64, op: Op, answer: Answer) -> Event {
        Event { sent: Duration::from_secs(sent), answered: Duration::from_secs(answered), op, answer }
    }

    fn read(sent: u64, answered: u64, list: &[u64], value: u64) -> Event {
        event(sent, answered, Op::Read, Answer::Seen(list.to_vec(), value))
    }

    #[test]
    fn what_can_be_ordered_passes() {
        let history = [
            event(1, 4, Op::Append(10), Answer::Appended(vec![10])),
            event(2, 9, Op::Append(11), Answer::Unknown),
            event(5, 6, Op::Append(12), Answer::Appended(vec![10, 11, 12])),
            event(5, 6, Op::Append(13), Answer::Unknown),
            read(2, 3, &[], 0),
            read(2, 3, &[10], 0),
            event(3, 6, Op::Swap(0, 7), Answer::Swapped(true)),
            event(5, 8, Op::Swap(0, 8), Answer::Swapped(false)),
            event(7, 9, Op::Swap(7, 9), Answer::Unknown),
            read(7, 8, &[10, 11, 12], 9),
        ];
        check(&history, (&[10, 11, 12], 9)).unwrap();
    }

    #[test]
    fn what_cannot_be_ordered_is_found() {
        let append = |sent, answered, token, list: &[u64]| event(sent, answered, Op::Append(token), Answer::Appended(list.to_vec()));
        let swap = |sent, answered, from, to, done| event(sent, answered, Op::Swap(from, to), Answer::Swapped(done));
        let bad = |history: &[Event], list: &[u64], value, why: &str| {
            let found = check(history, (list, value)).unwrap_err();
            assert!(found.contains(why), "{found}");
        };
        bad(&[append(1, 2, 5, &[5])], &[], 0, "is lost");
        bad(&[append(1, 2, 5, &[5]), read(3, 4, &[], 0)], &[5], 0, "can have taken effect");
        bad(&[append(1, 2, 5, &[5]), append(3, 4, 6, &[6])], &[5, 6], 0, "no prefix");
        bad(&[append(5, 6, 5, &[5]), read(1, 2, &[5], 0)], &[5], 0, "shows write 0");
        bad(&[append(5, 6, 5, &[5]), append(1, 2, 6, &[5, 6])], &[5, 6], 0, "can have taken effect");
        bad(&[read(1, 2, &[5], 0)], &[5], 0, "0 of which were appended");
        bad(&[swap(1, 2, 0, 7, true)], &[], 0, "is lost");
        bad(&[swap(1, 2, 0, 7, true), swap(3, 4, 0, 8, true)], &[], 8, "is lost");
        bad(&[swap(1, 2, 0, 7, true), read(3, 4, &[], 0)], &[], 7, "can have taken effect");
        bad(&[swap(1, 2, 0, 7, true), swap(3, 4, 7, 8, false)], &[], 7, "refused while");
        bad(&[swap(1, 2, 0, 7, false)], &[], 7, "and was");
        bad(&[read(1, 2, &[], 3)], &[], 0, "not among");
    }
}
