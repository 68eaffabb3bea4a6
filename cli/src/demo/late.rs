use super::Demo;
use super::memory::Memory;
use super::script::{Generator, Late};
use super::show::shorten_windows;
use crate::client::NDJSON;
use crate::print;
use crate::{derived, sql};
use anyhow::{Context, Result};
use common::time::SystemClock;
use game_events::{Config, Game};
use reqwest::Method;
use std::time::Instant;

/// Sends late events and shows which windows were repaired.
pub async fn run(demo: &Demo, memory: &mut Memory, tables: &[String]) -> Result<()> {
    let Some((title, lines)) = events(demo)? else { return Ok(()) };
    demo.screen.section("Late events")?;
    if memory.late() {
        return demo.screen.text("an earlier demo has sent them; sending them again would change nothing");
    }
    let (began, since) = (Instant::now(), SystemClock::shared().now());
    let source = &demo.script.events.source;
    let request = demo.client.request(Method::POST, &["tables", source, "ingest"]).header("content-type", NDJSON);
    let sent = lines.len() as u64;
    demo.client.done(request.body(lines.concat())).await.context("cannot send the late events")?;
    demo.screen.done(&format!("sent {} to {source}: {title}", print::count(sent, "event")), began.elapsed())?;

    let log = format!(
        "select table_name as \"table\", status, reason, windows, rows_out as rows, rows_changed as changed, duration_ms as ms from system.runs \
         where started_at >= timestamp '{}' order by started_at, run",
        since.to_rfc3339().trim_end_matches('Z')
    );
    if let Some(failed) = derived::wait_fresh(&demo.client, tables).await? {
        demo.screen.text(&failed)?;
    }
    let took = began.elapsed();
    memory.set_late()?;
    let mut runs = sql::grid(&demo.client, &log).await?;
    shorten_windows(&mut runs);
    demo.screen.done("all tables are fresh again; these windows were computed anew, no other", took)?;
    demo.screen.grid(&runs)
}

/// What the late events are, and their lines.
fn events(demo: &Demo) -> Result<Option<(String, Vec<String>)>> {
    match (&demo.script.late, demo.script.events.generator) {
        (Some(Late { title, events }), _) => {
            let line = |e: &serde_json::Value| Ok(format!("{}\n", serde_json::to_string(e)?));
            Ok(Some((title.clone(), events.iter().map(line).collect::<Result<_>>()?)))
        }
        (None, Some(Generator::Game)) => {
            let game = Game::new(&Config { events: 0, ..Config::default() });
            Ok(Some(("two players were offline on 2026-01-13".into(), game.late_lines().collect())))
        }
        (None, None) => Ok(None),
    }
}
