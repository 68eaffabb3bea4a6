//! `stele demo` plays to its end, and a second one on the same folder doubles nothing.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use std::path::Path;
use support::{Finished, stele};

fn demo(dir: &Path, more: &[&str]) -> String {
    let mut command = stele();
    command.args(["demo", "--exit", "--listen", "127.0.0.1:0", "--dir"]).arg(dir).args(more);
    Finished::of(&mut command).ok()
}

/// The number in front of ` rows (before: ` and the one behind it.
fn rows(out: &str) -> (u64, u64) {
    let line = out.lines().find(|l| l.contains("(before: ")).unwrap_or_else(|| panic!("no row counts in:\n{out}"));
    let (after, before) = line.split_once("(before: ").unwrap();
    let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
    (number(after.split_once(" has ").unwrap().1), number(before))
}

#[test]
fn the_game_is_played_and_a_second_demo_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = demo(dir.path(), &["--count", "4000"]);
    assert_eq!(rows(&first), (4_000, 0), "{first}");
    for heading in ["revenue by day", "Run log", "Late events", "2026-01-13"] {
        assert!(first.contains(heading), "no '{heading}' in:\n{first}");
    }

    let second = demo(dir.path(), &["--count", "4000"]);
    let (after, before) = rows(&second);
    assert_eq!(after, before, "{second}");
    assert!(second.contains("resumed"), "{second}");

    // Without its memory the demo sends every event again: they are the same rows.
    std::fs::remove_file(dir.path().join("demo-game.json")).unwrap();
    let third = demo(dir.path(), &["--count", "4000"]);
    assert_eq!(rows(&third), (before, before), "{third}");
}

#[test]
fn what_cannot_be_played_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| Finished::of(stele().args(["demo", "--exit", "--dir"]).arg(dir.path()).args(more));
    run(&["--example", "gaem"]).fails_with(&["gaem", "game"]);
    run(&["--example", "chat"]).fails_with(&["--events", "raw.messages"]);
    run(&["--events", "/no/such/file"]).fails_with(&["/no/such/file"]);
}
