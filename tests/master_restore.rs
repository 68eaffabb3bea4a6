//! Masters that lose their volumes: one of three, and all of them.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::writers::{Writers, check, create_table, line};
use support::{Finished, Http, Many, stele, wait_for};

const TABLE: &str = "raw.killed";

fn admin(url: &str, args: &[&str]) -> Finished {
    Finished::of(stele().arg("admin").args(args).args(["--url", url]))
}

/// Epoch and range of every tablet, by id.
fn tablets(http: &Http) -> Option<BTreeMap<u64, (u64, String)>> {
    let (status, found) = http.try_get("/v1/admin/tablets").ok()?;
    let all = found["tablets"].as_array().filter(|_| status == 200)?;
    let tablet = |t: &Value| Some((t["id"].as_u64()?, (t["epoch"].as_u64()?, t["start"].as_str()?.to_owned())));
    all.iter().map(tablet).collect()
}

fn ingest(http: &Http, table: &str, numbers: std::ops::Range<u64>) {
    let lines: String = numbers.clone().map(line).collect();
    wait_for("an acknowledgement", || {
        let (status, answer) = http.ingest(table, &lines).ok()?;
        (status == 200 && answer["rows"] == json!(numbers.end - numbers.start)).then_some(())
    });
}

#[test]
fn a_master_that_lost_its_volume_joins_as_a_new_one_and_nothing_else_changes() {
    let mut cluster = Many::start(3, 2);
    let http = cluster.http();
    create_table(&http);
    let writers = Writers::start(&cluster.url());
    writers.wait_for_more(100);
    // The founder as well: an empty folder does not make it found a second cluster.
    for n in [0, 1] {
        cluster.masters[n].kill();
        cluster.replace_master(n);
        writers.wait_for_more(100);
        // Until then another loss is one too many.
        wait_for("three masters that vote, the lost one not among them", || {
            let (status, found) = http.try_get("/v1/admin/masters").ok()?;
            let all = found["masters"].as_array().filter(|_| status == 200)?;
            (all.len() == 3 && all.iter().all(|m| m["votes"] == json!(true))).then_some(())
        });
        wait_for("a command that the new group commits", || {
            let name = format!("raw.after{n}");
            let spec = json!({"name": name, "key": [{"k": "string"}]});
            http.post("/v1/tables", &spec).ok().filter(|(status, _)| *status == 201)
        });
    }
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
    let before = tablets(&http).unwrap();
    // Two that were wiped and the third, restarted, still have all of it.
    cluster.masters[2].kill();
    cluster.restart_master(2);
    assert_eq!(wait_for("the tablets", || tablets(&http)), before);
    cluster.assert_runs();
}

#[test]
fn all_masters_are_lost_and_the_cluster_goes_on_from_the_copy() {
    let mut cluster = Many::start(3, 2);
    let (http, url) = (cluster.http(), cluster.url());
    create_table(&http);
    ingest(&http, TABLE, 0..200);
    admin(&url, &["snapshot", "create", TABLE, "--name", "kept"]).ok();
    let writers = Writers::start(&url);
    writers.wait_for_more(200);
    // What the newest copy may not know of: a split, and a clone, and all that is written to them.
    let first = *tablets(&http).unwrap().iter().find(|(_, (_, start))| start.is_empty()).unwrap().0;
    admin(&url, &["split", &first.to_string()]);
    admin(&url, &["clone", TABLE, "raw.clone"]).ok();
    ingest(&http, "raw.clone", 9_000_000..9_000_010);
    writers.wait_for_more(200);
    let before = wait_for("the tablets", || tablets(&http));

    // As long as one lives, nothing is restored.
    cluster.masters[0].kill();
    std::fs::remove_dir_all(cluster.master_folder(0)).unwrap();
    cluster.restore_master(0).fails_with(&["a master at", "answers", "is not lost"]);
    cluster.masters[1].kill();
    cluster.restore_master(1).fails_with(&["this data folder is that of master node"]);
    cluster.masters[2].kill();
    for n in [1, 2] {
        std::fs::remove_dir_all(cluster.master_folder(n)).unwrap();
    }
    // An empty master founds no second cluster over the data.
    let mut alone = stele();
    alone.args(["master", "--listen", "127.0.0.1:0", "--data-dir"]).arg(cluster.master_folder(2)).arg("--store").arg(cluster.bucket());
    Finished::of(&mut alone).fails_with(&["this data folder is empty", "stele master restore"]);

    let said = cluster.restore_master(0).ok();
    assert!(said.contains("is restored from the copy"), "{said}");
    cluster.restore_master(0).fails_with(&["this data folder is that of master node"]);
    cluster.restart_master(0);
    writers.wait_for_more(200);
    let after = wait_for("the tablets", || tablets(&http));
    for (id, (epoch, start)) in &before {
        let (now, _) = after.get(id).unwrap_or_else(|| panic!("tablet {id} is lost: {after:?}"));
        assert!(now > &(epoch + 1000) && &after[id].1 == start, "tablet {id}: epoch {now} after {epoch}");
    }
    assert_eq!(after.len(), before.len(), "{after:?}");
    // A second restore beside the living one is refused.
    cluster.restore_master(1).fails_with(&["a master at", "answers"]);
    for n in [1, 2] {
        let _ = std::fs::create_dir_all(cluster.master_folder(n));
        cluster.replace_master(n);
    }
    writers.wait_for_more(100);
    let acknowledged = writers.stop();
    check(&http, &acknowledged);
    let clone = wait_for("the clone", || http.try_sql("select count(*) as n from raw.clone where n >= 9000000").ok());
    assert_eq!(clone[0]["n"], json!(10));
    // What was kept is there, new numbers are far above the old ones, and tables come and go.
    admin(&url, &["restore", &format!("{TABLE}@kept"), "raw.kept"]).ok();
    assert!(http.number("select count(*) as n from raw.kept") >= 200);
    let newest = *tablets(&http).unwrap().keys().max().unwrap();
    assert!(newest > 1 << 20, "{newest}");
    assert_eq!(http.delete("/v1/tables/raw.clone"), 204);
    // The new group outlives one of its masters.
    cluster.masters[0].kill();
    ingest(&http, "raw.kept", 8_000_000..8_000_010);
    wait_for("a command without the first of them", || tablets(&http));
}

#[test]
fn a_cluster_is_born_once_and_only_when_somebody_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let master = |verb: &[&str], folder: &str, store: &str| {
        let mut command = stele();
        command.arg("master").args(verb).args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join(folder));
        Finished::of(command.arg("--store").arg(dir.path().join(store)))
    };
    master(&[], "a", "bucket").fails_with(&["belongs to a cluster", "stele master init"]);
    let said = master(&["init"], "a", "bucket").ok();
    assert_eq!(master(&["init"], "a", "bucket").ok(), said, "the same cluster");
    master(&["init"], "b", "bucket").fails_with(&["data folder is empty", "second cluster"]);
    master(&[], "b", "bucket").fails_with(&["data folder is empty", "second cluster"]);
    // It has never run, so there is nothing to bring back.
    master(&["restore"], "b", "bucket").fails_with(&["no copy of the masters' state"]);
    master(&["restore"], "b", "elsewhere").fails_with(&["no cluster to restore"]);
}

#[test]
fn a_group_that_another_one_has_gone_on_from_ends() {
    let mut cluster = Many::start(1, 1);
    let http = cluster.http();
    create_table(&http);
    ingest(&http, TABLE, 0..50);
    // It cannot be reached for a moment, and is taken for lost with its volume.
    let old = tempfile::tempdir().unwrap();
    cluster.masters[0].kill();
    let kept = old.path().join("master0");
    std::fs::rename(cluster.master_folder(0), &kept).unwrap();
    cluster.restore_master(0).ok();
    let mut command = stele();
    command.args(["master", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&kept).arg("--store").arg(cluster.bucket());
    Finished::of(&mut command).fails_with(&["old copy"]);
    cluster.restart_master(0);
    ingest(&http, TABLE, 50..100);
    assert_eq!(wait_for("the rows", || http.try_sql("select count(*) as n from raw.killed").ok())[0]["n"], json!(100));
}
