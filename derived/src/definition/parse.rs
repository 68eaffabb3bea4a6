use super::refuse::not_built;
use super::{Definition, StrategySpec};
use crate::problem::Problem;
use crate::schedule::Schedule;
use crate::yaml;
use serde_yaml_ng::Value;

/// Reads one definition.
///
/// # Errors
/// What is wrong, with line and column.
pub fn parse(file: &str, text: &str) -> Result<Definition, Problem> {
    let definition: Definition = match yaml::read(file, text) {
        Ok(definition) => definition,
        Err(problem) => return Err(refused(file, text).unwrap_or(problem)),
    };
    check(&definition).map_err(|(key, message)| Problem::at_key(file, text, key, message))?;
    Ok(definition)
}

/// Why what is no definition would not be one even if the rest of it were right.
fn refused(file: &str, text: &str) -> Option<Problem> {
    let keys: Value = serde_yaml_ng::from_str(text).ok()?;
    let Value::Mapping(keys) = &keys else {
        return Some(Problem::in_file(file, "a definition is a map of keys: name, strategy, sql and so on"));
    };
    let known = keys.keys().filter_map(Value::as_str).find_map(|key| Some((key, not_built(key)?)));
    known.map(|(key, why)| Problem::at_key(file, text, key, format!("{key}: {why}")))
}

type Fault = (&'static str, String);

/// What can be said without the SQL.
fn check(d: &Definition) -> Result<(), Fault> {
    common::schema::check_table_name(&d.name).map_err(|e| ("name", format!("name: {e}")))?;
    schedule(d).map_err(|e| ("schedule", format!("schedule: {e}")))?;
    for (key, value) in
        [("min_interval", &d.min_interval), ("repair_interval", &d.repair_interval), ("timeout", &d.timeout), ("freshness", &d.freshness)]
    {
        value.as_deref().map_or(Ok(()), |v| common::time::parse_duration(v).map(|_| ())).map_err(|e| (key, format!("{key}: {e}")))?;
    }
    if let Some(start) = &d.start {
        common::time::Micros::parse(start).map_err(|e| ("start", format!("start: {e}")))?;
    }
    check_window(d)?;
    check_strategy(d)?;
    check_tags(d)?;
    check_inputs(d)
}

/// The times at which its work may start, by the clock of its windows; `None`: at any time.
pub(crate) fn schedule(d: &Definition) -> Result<Option<Schedule>, String> {
    let zone = d.window.as_ref().map_or("UTC", |w| w.zone.as_str());
    d.schedule.as_deref().map_or(Ok(None), |text| Schedule::parse(text, zone))
}

fn check_window(d: &Definition) -> Result<(), Fault> {
    if let Some(window) = &d.window {
        crate::window::Windows::try_from(window.clone()).map_err(|e| ("window", format!("window: {e}")))?;
        if d.time_column.is_none() {
            return Err(("window", "window: also write time_column, the output column that says which window a row lies in".into()));
        }
        return Ok(());
    }
    let without_effect = [
        ("start", d.start.is_some()),
        ("meaning", d.meaning == super::Meaning::PerWindow),
        ("eager", d.eager),
        ("repair_interval", d.repair_interval.is_some()),
    ];
    match without_effect.into_iter().find(|(_, set)| *set) {
        Some((key, _)) => Err((key, format!("{key}: it has an effect only on tables with a window"))),
        None => Ok(()),
    }
}

fn check_strategy(d: &Definition) -> Result<(), Fault> {
    if d.late.is_some() && d.strategy != StrategySpec::Append {
        return Err(("late", "late: it has an effect only with strategy append".into()));
    }
    match &d.strategy {
        StrategySpec::Append if d.window.is_none() && d.late.is_some() => {
            Err(("late", "late: it has an effect only on tables with a window: without one, rows are appended as they come".into()))
        }
        StrategySpec::Append if d.eager => Err(("eager", "eager: an appended window is first written when it is complete".into())),
        StrategySpec::Merge(m) if !fits_merge(&d.key, &m.key) => {
            Err(("key", "key: a merge table's row key is that of strategy.merge: name the same columns, or leave key out".into()))
        }
        StrategySpec::Merge(m) if m.key.is_empty() => Err(("strategy", "strategy: merge needs a key of at least one column".into())),
        StrategySpec::Merge(m) => match m.columns.iter().find(|(_, rule)| rule.needs_order() && m.order_by.is_none()) {
            Some((column, rule)) => {
                let rule = format!("{rule:?}").to_lowercase();
                Err(("strategy", format!("strategy: column '{column}' merges by {rule}, which needs order_by")))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_tags(d: &Definition) -> Result<(), Fault> {
    for untag in &d.untag {
        if untag.reason.trim().is_empty() {
            return Err(("untag", format!("untag: {}: give a reason, for those who review it", untag.column)));
        }
    }
    Ok(())
}

/// Whether the row key, if one is given, has exactly the columns of the merge key.
fn fits_merge(key: &super::KeySpec, merge: &[String]) -> bool {
    let sorted = |names: &mut dyn Iterator<Item = &String>| {
        let mut names: Vec<_> = names.map(|n| n.split_whitespace().next().unwrap_or_default().to_owned()).collect();
        names.sort();
        names
    };
    let merge = sorted(&mut merge.iter());
    let (parts, unique) = (sorted(&mut key.partition.iter().chain(&key.cluster)), sorted(&mut key.unique.iter()));
    (parts.is_empty() || parts == merge) && (unique.is_empty() || unique == merge)
}

fn check_inputs(d: &Definition) -> Result<(), Fault> {
    for (name, rule) in &d.inputs {
        for (key, value) in [("back", &rule.back), ("ahead", &rule.ahead)] {
            let ok = value.as_deref().map_or(Ok(()), |v| common::time::parse_duration(v).map(|_| ()));
            ok.map_err(|e| ("inputs", format!("inputs: {name}: {key}: {e}")))?;
        }
        if rule.need == Some(super::Need::LastComplete) {
            return Err(("inputs", format!("inputs: {name}: need last_complete is not built yet: write complete or latest")));
        }
        if d.window.is_none() && (rule.back.is_some() || rule.ahead.is_some() || rule.need == Some(super::Need::Complete)) {
            return Err(("inputs", format!("inputs: {name}: back, ahead and need complete have an effect only on tables with a window")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::Rule;

    const WHOLE: &str = "name: game.revenue_daily
description: revenue
owner: games
tags: [finance]
columns: {device: {description: the device, type: string, tests: [not_null, {accepted_values: [ios, android]}]}}
strategy: replace
window: {every: day, zone: UTC}
time_column: day
start: 2026-01-01
schedule: on_data
repair_interval: 5m
key: {partition: [device], cluster: [day desc], unique: [device, day]}
inputs:
  raw.game_events: {need: complete, back: 0s, ahead: 0s}
  core.users: {need: latest, on_change: ignore}
freshness: 2h
retries: 3
timeout: 10m
sql: revenue_daily.sql
";

    fn with(more: &str) -> Result<Definition, Problem> {
        parse("derived/x.yaml", &format!("name: a.b\nsql: select 1\n{more}"))
    }

    #[test]
    fn the_documented_form_is_read() {
        let d = parse("f.yaml", WHOLE).unwrap();
        assert_eq!(d.strategy, StrategySpec::Replace);
        assert_eq!(d.columns["device"].tests.len(), 2);
        assert_eq!(d.inputs["core.users"].on_change, Some(super::super::OnChange::Ignore));
        let merge = with("strategy: {merge: {key: [user_id], order_by: at, columns: {first_at: min, device: latest}}}").unwrap();
        let StrategySpec::Merge(merge) = merge.strategy else { panic!("{merge:?}") };
        assert_eq!((merge.columns["first_at"], merge.columns["device"]), (Rule::Min, Rule::Latest));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let e = with("windoww: {every: day}").unwrap_err().to_string();
        assert!(e.starts_with("derived/x.yaml:3:1: ") && e.contains("windoww") && e.contains("window"), "{e}");
        let e = with("key: {partition: [a], clusters: [b]}").unwrap_err().to_string();
        assert!(e.starts_with("derived/x.yaml:3:") && e.contains("clusters"), "{e}");
        let e = with("strategy: {replce: {}}").unwrap_err().to_string();
        assert!(e.contains("replce") && e.contains("merge"), "{e}");
    }

    #[test]
    fn a_key_whose_effect_is_not_built_is_refused_never_ignored() {
        for (text, says) in [
            ("keep: 30 days", "retention"),
            ("memory: 1GB", "not built"),
            ("access: [team]", "privacy"),
            ("schedule: hourly", "on_data"),
            ("strategy: append\nlate: ignore", "only on tables with a window"),
            ("late: ignore", "only with strategy append"),
            ("eager: true", "window"),
            ("inputs: {raw.x: {need: last_complete}}", "last_complete"),
            ("min_interval: soon", "not a duration"),
            ("window: {every: fortnight}\ntime_column: day", "every 'fortnight'"),
            ("window: {every: day}", "time_column"),
            ("strategy: {merge: {key: [a], columns: {b: latest}}}", "order_by"),
            ("strategy: {merge: {key: [a], columns: {b: min}}}\nkey: {partition: [b]}", "leave key out"),
        ] {
            let e = with(text).unwrap_err();
            assert!(e.message.contains(says), "{text}: {e}");
            assert!(e.line >= 3, "{text}: {e}");
        }
    }

    #[test]
    fn broken_yaml_names_its_place() {
        let e = parse("f.yaml", "name: a.b\n  sql: x\n").unwrap_err();
        assert_eq!(e.line, 2, "{e}");
        assert!(parse("f.yaml", "- a\n").unwrap_err().message.contains("map of keys"));
    }
}
