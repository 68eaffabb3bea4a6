use super::Demo;
use super::script::Read;
use crate::client::NDJSON;
use crate::print::Grid;
use crate::sql;
use anyhow::{Context, Result};
use common::time::Micros;
use reqwest::Method;
use std::time::{Duration, Instant};

/// The last runs, newest first.
const RUN_LOG: &str = "select table_name as \"table\", status, reason, windows, rows_in as read, rows_out as rows, rows_changed as changed, \
                       duration_ms as ms from system.runs order by started_at desc, run desc limit 12";

/// Shows reads, queries and the run log.
pub async fn run(demo: &Demo) -> Result<()> {
    for read in &demo.script.reads {
        demo.screen.section(&read.title)?;
        let (request, took, grid) = perform(demo, read).await.with_context(|| format!("demo.yaml: '{}'", read.title))?;
        demo.screen.answer(&request, took, &grid)?;
    }
    for query in &demo.script.queries {
        demo.screen.section(&query.title)?;
        let began = Instant::now();
        let grid = sql::grid(&demo.client, &query.sql).await.with_context(|| format!("demo.yaml: '{}'", query.title))?;
        demo.screen.answer(&one_line(&query.sql), began.elapsed(), &grid)?;
    }
    demo.screen.section("Run log")?;
    let began = Instant::now();
    let mut grid = sql::grid(&demo.client, RUN_LOG).await?;
    shorten_windows(&mut grid);
    demo.screen.answer("select … from system.runs, newest first", began.elapsed(), &grid)
}

/// Picks the parameters, then reads: the shown time is that of a second, warm read on an open connection, as a
/// service would make it.
async fn perform(demo: &Demo, read: &Read) -> Result<(String, Duration, Grid)> {
    let picked = sql::grid(&demo.client, &read.pick).await.context("pick")?;
    let row = picked.rows.first().context("pick gives no row")?;
    let mut parameters: Vec<(String, String)> =
        picked.columns.iter().zip(row).filter_map(|((name, _), value)| Some((name.clone(), value.clone()?))).collect();
    if !read.columns.is_empty() {
        parameters.push(("columns".into(), read.columns.join(",")));
    }
    parameters.push(("limit".into(), read.limit.to_string()));
    let request = || demo.client.request(Method::GET, &["tables", &read.table, "rows"]).query(&parameters).header("accept", NDJSON);
    let shown = request().build()?.url().clone();
    demo.client.send(request()).await?.bytes().await?;
    let began = Instant::now();
    let body = demo.client.send(request()).await?.bytes().await?;
    let took = began.elapsed();
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let rows: Vec<_> = lines.map(serde_json::from_slice).collect::<Result<_, _>>().context("a row is not a JSON object")?;
    let query = shown.query().map(|q| format!("?{q}")).unwrap_or_default().replace("%2C", ",").replace("%3A", ":");
    Ok((format!("GET {}{query}", shown.path()), took, Grid::from_json(&rows)))
}

fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes the `windows` column, JSON ranges, as people write days and hours.
pub fn shorten_windows(grid: &mut Grid) {
    let Some(i) = grid.columns.iter().position(|(name, _)| name == "windows") else { return };
    for row in &mut grid.rows {
        row[i] = row[i].take().map(|text| windows_text(&text));
    }
}

fn windows_text(json: &str) -> String {
    let Ok(ranges) = serde_json::from_str::<Vec<(serde_json::Value, serde_json::Value)>>(json) else {
        return json.to_owned();
    };
    match ranges.as_slice() {
        [] => "whole".into(),
        ranges => ranges
            .iter()
            .map(|(start, end)| range_text(instant(start, Micros::MIN), instant(end, Micros::MAX)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// An end that is open is null.
fn instant(value: &serde_json::Value, open: Micros) -> Micros {
    value.as_str().and_then(|text| Micros::parse(text).ok()).unwrap_or(open)
}

/// A day by its date, days by their first and last, anything else by its ends.
fn range_text(start: Micros, end: Micros) -> String {
    const DAY: i64 = 86_400_000_000;
    if (start, end) == (Micros::MIN, Micros::MAX) {
        return "whole".into();
    }
    let day = |t: Micros| t.to_rfc3339().chars().take(10).collect::<String>();
    match (start.0.rem_euclid(DAY), end.0.rem_euclid(DAY), end.0.saturating_sub(start.0)) {
        (0, 0, DAY) => day(start),
        (0, 0, _) => format!("{} … {}", day(start), day(Micros(end.0 - DAY))),
        _ => format!("{start} … {end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_as_days() {
        assert_eq!(windows_text(r#"[["2024-10-04T00:00:00Z", "2024-10-05T00:00:00Z"]]"#), "2024-10-04");
        assert_eq!(
            windows_text(r#"[["2026-01-12", "2026-01-19"], ["2026-02-01T00:00:00Z", "2026-02-01T01:00:00Z"]]"#),
            "2026-01-12 … 2026-01-18, 2026-02-01T00:00:00Z … 2026-02-01T01:00:00Z"
        );
        assert_eq!([windows_text("[[null, null]]"), windows_text("odd")], ["whole", "odd"]);
    }
}
