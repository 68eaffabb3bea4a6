//! Servers and leading masters are killed, round after round, while rows are written and read: nothing acknowledged is lost, no
//! read is wrong, and what it takes until everything is served again is printed. Nothing is asserted about time.
//!
//! `STELE_KILL_ROUNDS` and `STELE_KILL_TABLETS` ask for more than a normal run: 20 rounds on 100 tablets say how a cluster fares.
//! `STELE_KILL_FILL` is how many bytes each of a tablet's 100 rows has beside its value. With it servers keep all that their logs
//! may hold unflushed, and rows are written anew before the fullest of them is killed, so that there is so much to recover in every round.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use common::rpc::tablet::Target;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::direct::Direct;
use support::marks::{self, ROWS, Watch};
use support::{DEADLINE, Http, Many, wait_for};

const TABLE: &str = "raw.marks";
/// Threads that ask for all tablets after a kill.
const ASKING: u64 = 16;
/// Bytes of a row beside its value, usually.
const FILL: usize = 400;
/// Text that no log or SSTable makes smaller: rows have pieces of it.
const TEXT_BYTES: usize = 4 << 20;
/// Memtables that are not flushed before the log's budget of 256 MiB is used up.
const NEVER_FULL: u64 = 1 << 30;

fn number(variable: &str, usually: u64) -> u64 {
    std::env::var(variable).map_or(usually, |text| text.parse().unwrap())
}

/// What is killed in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Server,
    Leader,
    Both,
}

/// Seconds, by what was measured.
#[derive(Default)]
struct Times(BTreeMap<String, Vec<f64>>);

impl Times {
    fn note(&mut self, what: impl Into<String>, took: Duration) {
        self.0.entry(what.into()).or_default().push(took.as_secs_f64());
    }

    fn print(mut self) {
        for (what, times) in &mut self.0 {
            times.sort_by(f64::total_cmp);
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
            println!("{what}: median {median:.2} s, longest {most:.2} s of {}", times.len());
        }
    }
}

/// What rows hold beside their values.
struct Fill {
    bytes: usize,
    /// Whether it is written anew before a server is killed.
    again: bool,
    text: String,
}

impl Fill {
    fn wanted() -> Self {
        let bytes = number("STELE_KILL_FILL", FILL as u64) as usize;
        let text = Alphanumeric.sample_string(&mut rand::rng(), TEXT_BYTES.max(2 * bytes));
        Self { bytes, again: bytes != FILL, text }
    }

    fn memtable_bytes(&self) -> Option<u64> {
        self.again.then_some(NEVER_FULL)
    }

    /// All rows of all tablets, so that there is something to recover; with these values, or as they are.
    fn write(&self, http: &Http, tablets: u64, value: Option<u64>) {
        for tablet in 0..tablets {
            let row = |i: u64| {
                let k = tablet * ROWS + i;
                let from = k as usize * 7919 % (self.text.len() - self.bytes);
                let mut row = json!({ "k": k, "fill": self.text[from..from + self.bytes] });
                row.as_object_mut().unwrap().extend(value.map(|v| ("v".to_owned(), json!(v))));
                format!("{row}\n")
            };
            let lines: String = (0..ROWS).map(row).collect();
            wait_for("a tablet's rows", || http.ingest(TABLE, &lines).ok().filter(|(status, _)| *status == 200));
        }
    }
}

/// MiB that a server's memtables hold of the table.
fn unflushed_mib(cluster: &Many, server: usize) -> u64 {
    let (master, server) = (Direct::to(&cluster.masters[leader(cluster)].address), Direct::to(&cluster.servers[server].address));
    let catalog = master.call(master.catalog()).unwrap();
    let table = catalog.table(TABLE).unwrap().id;
    let own = catalog.tablets_of(table).iter().filter(|t| catalog.address_of(t) == Some(server.address()));
    own.map(|t| server.call(server.unflushed(Target::new(table, t.id))).unwrap_or(0)).sum::<u64>() >> 20
}

/// How long it takes until a row of every tablet was read, and one written; each thread asks for some of them until they answer.
fn until_all_serve(url: &str, tablets: u64, round: u64) -> Duration {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..ASKING {
            scope.spawn(move || {
                let http = Http::new(url);
                for tablet in (0..tablets).filter(|t| t % ASKING == thread) {
                    let (read, written) = (tablet * ROWS + 5, tablet * ROWS + 7);
                    while marks::get(&http, TABLE, read).is_none() || !marks::set(&http, TABLE, written, round) {
                        assert!(begun.elapsed() < DEADLINE, "tablet {tablet} is not served");
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            });
        }
    });
    begun.elapsed()
}

/// The master that leads, among those that run.
fn leader(cluster: &Many) -> usize {
    let leads = |address: &str| Some(Direct::to(address).masters().ok()?.into_iter().find(|n| n.leads)?.address);
    wait_for("a leader", || {
        let address = cluster.masters.iter().find_map(|m| leads(&m.address))?;
        cluster.masters.iter().position(|m| m.address == address)
    })
}

/// Waits until all tablets are open, all servers live and no procedure has them: the next round is to find a whole cluster.
fn whole(http: &Http, tablets: usize, servers: usize) {
    wait_for("a whole cluster", || {
        let found = http.try_get(&format!("/v1/admin/tablets?table={TABLE}")).ok()?.1;
        let open = found["tablets"].as_array()?.iter().filter(|t| t["state"] == "open" && t["procedure"].is_null()).count();
        let live = http.try_get("/v1/cluster").ok()?.1["servers"].as_array()?.len();
        (open >= tablets && live == servers).then_some(())
    });
}

fn round(cluster: &mut Many, victim: Victim, n: u64, tablets: u64, (fill, times): (&Fill, &mut Times)) {
    let (url, http) = (cluster.url(), cluster.http());
    let (mut server, master) = (n as usize % cluster.servers.len(), leader(cluster));
    if fill.again && victim != Victim::Leader {
        fill.write(&http, tablets, None);
        let mib: Vec<_> = (0..cluster.servers.len()).map(|server| unflushed_mib(cluster, server)).collect();
        server = (0..mib.len()).max_by_key(|server| mib[*server]).unwrap();
        println!("round {n}: MiB unflushed at the servers: {mib:?}; the fullest is killed");
    }
    if victim != Victim::Leader {
        cluster.servers[server].kill();
    }
    let begun = Instant::now();
    if victim != Victim::Server {
        cluster.masters[master].kill();
    }
    times.note(format!("{victim:?} killed: every tablet read and written"), until_all_serve(&url, tablets, n));
    if victim != Victim::Server {
        let spec = json!({ "name": format!("raw.after{n}"), "key": [{ "k": "int64" }] });
        wait_for("a table after the leader's death", || http.post("/v1/tables", &spec).ok().filter(|(status, _)| *status < 300));
        times.note(format!("{victim:?} killed: a table created"), begun.elapsed());
        cluster.restart_master(master);
    }
    if victim != Victim::Leader {
        cluster.restart_server(server);
    }
    whole(&http, tablets as usize, cluster.servers.len());
}

#[test]
fn kills_lose_nothing_and_no_read_is_wrong() {
    let (rounds, tablets, fill) = (number("STELE_KILL_ROUNDS", 3), number("STELE_KILL_TABLETS", 12), Fill::wanted());
    let mut cluster = match fill.memtable_bytes() {
        None => Many::start(3, 3),
        large => Many::with_memtables(large, None, 3, 3),
    };
    let http = cluster.http();
    marks::create_table(&http, TABLE, tablets);
    fill.write(&http, tablets, Some(0));
    whole(&http, tablets as usize, 3);
    let watch = Watch::start(&cluster.url(), TABLE, tablets);
    let mut times = Times::default();
    for n in 0..rounds {
        let victim = [Victim::Server, Victim::Leader, Victim::Both][n as usize % 3];
        round(&mut cluster, victim, n + 1, tablets, (&fill, &mut times));
    }
    let (acknowledged, reads) = watch.stop(&http);
    println!("{rounds} rounds on {tablets} tablets: {acknowledged} acknowledged writes, none lost; {reads} reads, none wrong");
    times.print();
    assert!(acknowledged > 0 && reads > tablets);
}

/// Ends when the procedure has ended; its last step.
fn carried_out(http: &Http, wanted: &Value) -> String {
    // Another procedure may have the tablet: the cluster evens its servers out.
    let (_, begun) =
        wait_for("a procedure to begin", || http.post("/v1/admin/procedures", wanted).ok().filter(|(status, _)| *status == 202));
    wait_for("the end of a procedure", || {
        let all = http.get("/v1/admin/procedures");
        let found = all["procedures"].as_array().unwrap().iter().find(|p| p["id"] == begun["id"])?.clone();
        found["ended_at"].is_string().then(|| found["step"].as_str().unwrap().to_owned())
    })
}

/// Writers of one row each; the longest that a write has taken since it was last asked.
struct Pressed<'a> {
    stop: &'a AtomicBool,
    longest: Mutex<Duration>,
}

impl Pressed<'_> {
    fn write(&self, url: &str, k: u64) {
        let (http, mut v) = (Http::new(url), 0);
        while !self.stop.load(Ordering::SeqCst) {
            v += 1;
            let begun = Instant::now();
            marks::try_set(&http, TABLE, k, v).unwrap_or_else(|why| panic!("write {v} of row {k}: {why}"));
            let mut longest = self.longest.lock().unwrap();
            *longest = begun.elapsed().max(*longest);
        }
    }

    fn longest(&self) -> Duration {
        std::mem::take(&mut *self.longest.lock().unwrap())
    }
}

/// Tells threads to end, also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn moves_splits_and_merges_refuse_no_write() {
    let rounds = number("STELE_KILL_ROUNDS", 3);
    let cluster = Many::start(1, 3);
    let (http, url) = (cluster.http(), cluster.url());
    marks::create_table(&http, TABLE, 2);
    Fill::wanted().write(&http, 2, Some(0));
    whole(&http, 2, 3);
    let tablets = || http.get(&format!("/v1/admin/tablets?table={TABLE}"))["tablets"].as_array().unwrap().clone();
    let mut times = Times::default();
    let stopped = AtomicBool::new(false);
    let pressed = Pressed { stop: &stopped, longest: Mutex::default() };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|k| {
                scope.spawn({
                    let (pressed, url) = (&pressed, &url);
                    move || pressed.write(url, k)
                })
            })
            .collect();
        let _stop = StopAtEnd(&stopped);
        for n in 0..rounds {
            for what in ["move", "split", "merge"] {
                let now = tablets();
                let mut wanted = match what {
                    "merge" => json!({ "lower": now[0]["id"], "upper": now[1]["id"] }),
                    "split" => json!({ "tablet": now[0]["id"], "at": [ROWS / 2] }),
                    _ => json!({ "tablet": now[0]["id"] }),
                };
                wanted["procedure"] = json!(what);
                pressed.longest();
                assert_eq!(carried_out(&http, &wanted), "done", "round {n}: {wanted}");
                // What it held up is answered before what comes now.
                let last = marks::get(&http, TABLE, 0).unwrap();
                wait_for("writes after the procedure", || {
                    assert!(writers.iter().all(|w| !w.is_finished()), "a writer has failed");
                    marks::get(&http, TABLE, 0).filter(|v| *v > last + 3)
                });
                times.note(format!("longest write during a {what}"), pressed.longest());
            }
        }
    });
    times.print();
}
