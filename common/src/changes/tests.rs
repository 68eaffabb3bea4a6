use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    id: u8,
    value: u8,
}

impl Keyed for Item {
    type Key = u8;

    fn key(&self) -> u8 {
        self.id
    }
}

const fn item(id: u8, value: u8) -> Item {
    Item { id, value }
}

fn items(ledger: &Ledger<Item>) -> Vec<Item> {
    ledger.iter().cloned().collect()
}

fn has(replica: &Replica<Item>) -> Vec<Item> {
    replica.iter().cloned().collect()
}

#[test]
fn what_is_told_is_what_changed() {
    let mut ledger = Ledger::new(7);
    assert_eq!(ledger.since(None), Changes::whole(7, Vec::new()));
    ledger.begin(8);
    assert!(ledger.set(item(1, 1)) && ledger.set(item(2, 1)) && !ledger.set(item(2, 1)));
    ledger.begin(9);
    assert!(ledger.remove(&1) && !ledger.remove(&1));
    assert!(ledger.has_changed_since(8) && !ledger.has_changed_since(9));
    let changes = ledger.since(Some(8));
    assert_eq!((changes.base, changes.version), (Some(8), 9));
    assert_eq!((changes.part.put, changes.part.gone), (vec![], vec![1]));
    ledger.told(9);
    assert!(ledger.since(Some(9)).part.is_empty());
    assert_eq!(ledger.since(Some(8)), Changes::whole(9, vec![item(2, 1)]), "forgotten: all of it");
    assert_eq!(ledger.since(Some(10)), Changes::whole(9, vec![item(2, 1)]), "a version that never was");
}

#[test]
fn a_key_that_came_and_went_is_told_to_whoever_may_have_it() {
    let mut ledger = Ledger::new(0);
    let mut replica = Replica::default();
    replica.take(ledger.since(None)).unwrap();
    ledger.begin(1);
    ledger.set(item(1, 1));
    replica.take(ledger.since(Some(0))).unwrap();
    ledger.begin(2);
    ledger.remove(&1);
    // Its word that it has version 1 was lost, so this is told from version 0 on.
    replica.take(ledger.since(Some(0))).unwrap();
    assert_eq!((has(&replica), replica.version()), (vec![], Some(2)));
}

#[test]
fn changes_after_a_lost_message_are_refused_until_the_gap_is_told() {
    let mut ledger = Ledger::new(0);
    let mut replica = Replica::default();
    assert_eq!(replica.take(ledger.since(Some(0))), Err(Gap), "it has nothing yet");
    replica.take(ledger.since(None)).unwrap();
    for version in 1..=2 {
        ledger.begin(version);
        ledger.set(item(version as u8, 0));
    }
    let late = ledger.since(Some(1));
    assert_eq!(replica.take(late.clone()), Err(Gap));
    assert_eq!(has(&replica), []);
    replica.take(ledger.since(replica.version())).unwrap();
    replica.take(late).unwrap();
    assert_eq!(has(&replica), items(&ledger));
}

#[test]
fn messages_out_of_order_leave_the_newest() {
    let mut ledger = Ledger::new(0);
    let mut replica = Replica::default();
    replica.take(ledger.since(None)).unwrap();
    ledger.begin(1);
    ledger.set(item(1, 1));
    let older = ledger.since(Some(0));
    ledger.begin(2);
    ledger.set(item(1, 2));
    replica.take(ledger.since(Some(0))).unwrap();
    replica.take(older).unwrap();
    assert_eq!((has(&replica), replica.version()), (vec![item(1, 2)], Some(2)));
}

#[test]
fn changes_survive_the_wire() {
    let changes = Changes { base: Some(3), version: 4, part: Part { put: vec![item(1, 2)], gone: vec![9] } };
    let text = serde_json::to_string(&changes).unwrap();
    assert_eq!(serde_json::from_str::<Changes<Item>>(&text).unwrap(), changes);
    let empty: Changes<Item> = Changes { base: None, version: 4, part: Part::default() };
    assert_eq!(serde_json::from_str::<Changes<Item>>(&serde_json::to_string(&empty).unwrap()).unwrap(), empty);
}

#[derive(Clone, Debug)]
enum Event {
    Set(u8, u8),
    Remove(u8),
    /// The ledger's side sends; the message is lost, kept back for later, or comes.
    Send(Fate),
    /// The replica says what it has; that is lost or comes.
    Say(bool),
    /// A message that was kept back comes.
    Late(usize),
    /// A new ledger's side (a new leader, a new stream) that knows the list but nothing of the replica.
    NewLedger,
    /// The replica begins anew.
    NewReplica,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Lost,
    Held,
    Comes,
}

fn event() -> impl Strategy<Value = Event> {
    let fate = prop_oneof![1 => Just(Fate::Lost), 1 => Just(Fate::Held), 3 => Just(Fate::Comes)];
    prop_oneof![
        6 => (0..12u8, any::<u8>()).prop_map(|(id, value)| Event::Set(id, value)),
        3 => (0..12u8).prop_map(Event::Remove),
        6 => fate.prop_map(Event::Send),
        3 => any::<bool>().prop_map(Event::Say),
        2 => any::<usize>().prop_map(Event::Late),
        1 => Just(Event::NewLedger),
        1 => Just(Event::NewReplica),
    ]
}

proptest! {
    /// Whatever is lost, repeated or out of order: the replica is never at a version with other items than that version
    /// had, and one exchange without loss brings it to the newest.
    #[test]
    fn a_replica_is_right_about_its_version_and_catches_up(events in proptest::collection::vec(event(), 1..120)) {
        let (mut ledger, mut replica) = (Ledger::new(1), Replica::default());
        // What the ledger's side believes the replica to have; messages of an earlier ledger's stream do not come any more.
        let (mut acked, mut held) = (None, Vec::new());
        let mut history = BTreeMap::from([(1, Vec::new())]);
        for event in events {
            match event {
                Event::Set(id, value) => {
                    ledger.begin(ledger.version() + 1);
                    ledger.set(item(id, value));
                }
                Event::Remove(id) => {
                    ledger.begin(ledger.version() + 1);
                    ledger.remove(&id);
                }
                Event::Send(Fate::Lost) => {}
                Event::Send(Fate::Held) => held.push(ledger.since(acked)),
                Event::Send(Fate::Comes) => _ = replica.take(ledger.since(acked)),
                Event::Say(comes) => {
                    if comes {
                        acked = replica.version();
                        ledger.told(acked.unwrap_or(0));
                    }
                }
                Event::Late(which) if !held.is_empty() => {
                    let at = which % held.len();
                    let _ = replica.take(held.swap_remove(at));
                }
                Event::Late(_) => {}
                Event::NewLedger => {
                    let mut fresh = Ledger::new(ledger.version());
                    ledger.iter().cloned().for_each(|item| _ = fresh.set(item));
                    (ledger, acked) = (fresh, None);
                    held.clear();
                }
                Event::NewReplica => {
                    (replica, acked) = (Replica::default(), None);
                    held.clear();
                }
            }
            history.insert(ledger.version(), items(&ledger));
            if let Some(version) = replica.version() {
                prop_assert_eq!(&has(&replica), &history[&version]);
            }
        }
        let behind = replica.take(ledger.since(acked)).is_err();
        prop_assert!(!behind || acked.is_none() || replica.version() < acked, "what it said it had is enough");
        acked = replica.version();
        replica.take(ledger.since(acked)).unwrap();
        prop_assert_eq!(has(&replica), items(&ledger));
        prop_assert_eq!(replica.version(), Some(ledger.version()));
    }
}
