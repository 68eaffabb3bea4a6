//! Requests of 500 events each, of ten attributes, about 400 bytes of values: as NDJSON, or as messages of the Bigtable API.
//!
//! They are made once; a request copies one and writes the numbers of its events in, so that the load costs little beside what it loads.

use common::ids::TableId;
use common::schema::{DATA_FAMILY, Table, TableKind, TableSpec};
use common::time::Micros;
use common::value::{Value as Cell, ValueType};
use gateway::bigtable::messages::{Change, MutateRowsRequest, Mutation, RowEntry, SetCell};
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::ops::Range;

pub const TABLE: &str = "raw.load";
/// Events of a request.
pub const A_REQUEST: u64 = 500;
/// Different requests; numbers aside they repeat after that.
const BODIES: u64 = 200;
const USERS: u32 = 100_000;
/// Stands where an event's number goes: as many digits as numbers are given.
const PLACE: u64 = 1_000_000_000_000;
const WORDS: [&str; 12] =
    ["match", "ranked", "lobby", "player", "left", "joined", "while", "the", "server", "restarted", "inventory", "purchase"];

/// How events travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `MutateRows` of the Bigtable API, over gRPC.
    Bigtable,
    /// NDJSON to `/ingest`.
    Rest,
}

/// A table with a tablet for each of three servers.
pub fn table() -> Value {
    let columns = json!({
        "event_type": "string", "session": "string", "device": "string", "country": "string", "price": "float64", "quantity": "int64",
        "paid": "bool", "received_at": "timestamp", "message": "string", "payload": "json",
    });
    let key = json!([{ "user_id": "string" }, { "at": "timestamp" }, { "event_id": "int64" }]);
    json!({ "name": TABLE, "key": key, "columns": columns, "split_at": [["u33333"], ["u66666"]] })
}

/// A body, and where the number of each event goes.
struct Body {
    bytes: Vec<u8>,
    numbers: Vec<Range<usize>>,
}

/// All bodies.
pub struct Events {
    bodies: Vec<Body>,
    /// A number as the bodies have it.
    number: fn(u64) -> Vec<u8>,
}

impl Events {
    /// The same for the same seed.
    pub fn new(api: Api, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let spec: TableSpec = serde_json::from_value(table()).unwrap();
        let table = Table::create(TableId(1), TableKind::Raw, spec).unwrap();
        let number = if api == Api::Rest { digits } else { key_part };
        let body = |_| {
            let events: Vec<Value> = (0..A_REQUEST).map(|_| event(&mut random)).collect();
            let bytes = if api == Api::Rest { lines(&events) } else { message(&table, &events) };
            Body { numbers: places(&bytes, &number(PLACE)), bytes }
        };
        Self { bodies: (0..BODIES).map(body).collect(), number }
    }

    /// Request `n`: its events are numbered from [`first`] on.
    pub fn request(&self, n: u64) -> Vec<u8> {
        let body = &self.bodies[(n % BODIES) as usize];
        let mut bytes = body.bytes.clone();
        for (at, place) in (first(n)..).zip(&body.numbers) {
            bytes[place.clone()].copy_from_slice(&(self.number)(at));
        }
        bytes
    }
}

/// The number of a request's first event.
pub fn first(request: u64) -> u64 {
    PLACE + request * A_REQUEST
}

fn digits(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// As row keys have it.
fn key_part(number: u64) -> Vec<u8> {
    (number ^ (1 << 63)).to_be_bytes().to_vec()
}

/// Where `place` stands: once for each event.
fn places(bytes: &[u8], place: &[u8]) -> Vec<Range<usize>> {
    let starts = (0..=bytes.len() - place.len()).filter(|at| bytes[*at..].starts_with(place));
    let found: Vec<_> = starts.map(|at| at..at + place.len()).collect();
    assert_eq!(found.len() as u64, A_REQUEST);
    found
}

/// Few users have most events, as in any real application.
fn user(random: &mut StdRng) -> String {
    let rank = f64::from(USERS).powf(random.random::<f64>()) as u32;
    format!("u{:05}", (u64::from(rank) * 61_803) % u64::from(USERS))
}

fn event(random: &mut StdRng) -> Value {
    let second = random.random_range(0..86_400);
    let words = random.random_range(18..34);
    let message: Vec<&str> = (0..words).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
    let at = format!("2026-01-15T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
    json!({
        "user_id": user(random), "at": at, "event_id": PLACE,
        "event_type": WORDS[random.random_range(0..WORDS.len())], "session": format!("{:024x}", random.random::<u64>()),
        "device": "android-14", "country": "NL", "price": f64::from(random.random_range(99..100_000)) / 100.0,
        "quantity": random.random_range(1..20), "paid": random.random_bool(0.3), "received_at": at,
        "message": message.join(" "), "payload": { "screen": random.random_range(1..40), "ab": "variant-b", "latency_ms": random.random_range(1..900) },
    })
}

fn lines(events: &[Value]) -> Vec<u8> {
    events.iter().map(|event| format!("{event}\n")).collect::<String>().into_bytes()
}

/// The same as `MutateRows` has it: keys and cells are encoded by the client.
fn message(table: &Table, events: &[Value]) -> Vec<u8> {
    let entry = |event: &Value| {
        let part = |p: &common::schema::KeyPart| Some(typed(p.codec.ty, &event[&p.name]));
        let key: Vec<_> = table.key.iter().map(part).collect();
        let cell = |c: &common::schema::Column| SetCell {
            family_name: DATA_FAMILY.into(),
            column_qualifier: c.qualifier.clone().into(),
            timestamp_micros: -1,
            value: typed(c.ty, &event[&c.name]).to_cell(),
        };
        let mutations = table.columns.iter().map(|c| Mutation { mutation: Some(Change::SetCell(cell(c))) }).collect();
        RowEntry { row_key: table.key_schema().encode(&key).unwrap(), mutations }
    };
    let table_name = format!("projects/load/instances/load/tables/{TABLE}");
    MutateRowsRequest { table_name, entries: events.iter().map(entry).collect(), ..Default::default() }.encode_to_vec()
}

fn typed(ty: ValueType, value: &Value) -> Cell {
    match ty {
        ValueType::String => Cell::String(value.as_str().unwrap().into()),
        ValueType::Timestamp => Cell::Timestamp(Micros::parse(value.as_str().unwrap()).unwrap()),
        ValueType::Int64 => Cell::Int64(value.as_i64().unwrap()),
        ValueType::Float64 => Cell::Float64(value.as_f64().unwrap()),
        ValueType::Bool => Cell::Bool(value.as_bool().unwrap()),
        ValueType::Json => Cell::Json(value.to_string()),
        other => panic!("the load has no {other}"),
    }
}
