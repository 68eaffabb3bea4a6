//! The text of queries: window ends put in for their placeholders, and results kept to some windows.

use common::time::Micros;
use common::{Error, Result};
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, visit_expressions_mut, visit_relations_mut};
use datafusion::sql::sqlparser::dialect::{GenericDialect, PostgreSqlDialect};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

/// What `{{ window.start }}` renders to.
pub const WINDOW_START: &str = "$window_start";
/// What `{{ window.end }}` renders to.
pub const WINDOW_END: &str = "$window_end";
/// What `{{ run_time }}` renders to.
pub const RUN_TIME: &str = "$run_time";

/// `sql` with window ends in place of their placeholders.
#[must_use]
pub fn bind(sql: &str, start: Micros, end: Micros) -> String {
    replace(sql, |name| match name {
        WINDOW_START => Some(timestamp(start)),
        WINDOW_END => Some(timestamp(end)),
        _ => None,
    })
}

/// `sql` with the scheduled time in place of its placeholder.
#[must_use]
pub fn at_run_time(sql: &str, run_time: Micros) -> String {
    replace(sql, |name| (name == RUN_TIME).then(|| timestamp(run_time)))
}

/// `sql` with a placeholder in place of each function that tells the time: a window's end, or the scheduled time.
pub(crate) fn without_clocks(sql: &str, placeholder: &str) -> String {
    let lower = sql.to_ascii_lowercase();
    if !["now", "current_"].iter().any(|word| lower.contains(word)) {
        return sql.to_owned();
    }
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() else { return sql.to_owned() };
    let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let (mut out, mut at) = (String::with_capacity(sql.len()), 0);
    for (i, t) in tokens.iter().enumerate() {
        let Token::Word(word) = &t.token else { continue };
        let called =
            tokens.get(i + 1).is_some_and(|t| t.token == Token::LParen) && tokens.get(i + 2).is_some_and(|t| t.token == Token::RParen);
        let of_a_table = i > 0 && tokens[i - 1].token == Token::Period || tokens.get(i + 1).is_some_and(|t| t.token == Token::Period);
        let text = match word.value.to_ascii_lowercase().as_str() {
            _ if word.quote_style.is_some() || of_a_table => continue,
            "now" if called => placeholder.to_owned(),
            "current_timestamp" => placeholder.to_owned(),
            "current_date" => format!("cast({placeholder} as date)"),
            _ => continue,
        };
        let end = if called { tokens[i + 2].span.end } else { t.span.end };
        out.push_str(&sql[at..offset_of(sql, t.span.start)]);
        out.push_str(&text);
        at = offset_of(sql, end);
    }
    out.push_str(&sql[at..]);
    out
}

/// `sql` with another text for each placeholder that `with` knows. Placeholders in text and comments are none.
pub(crate) fn replace(sql: &str, with: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut at = 0;
    for (offset, name) in placeholders(sql) {
        if let Some(text) = with(&name) {
            out.push_str(&sql[at..offset]);
            out.push_str(&text);
            at = offset + name.len();
        }
    }
    out.push_str(&sql[at..]);
    out
}

/// The placeholders of `sql` with their byte offsets, in order; none if it does not tokenize.
pub(crate) fn placeholders(sql: &str) -> Vec<(usize, String)> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() else { return Vec::new() };
    let named = tokens.into_iter().filter_map(|t| match t.token {
        Token::Placeholder(name) => Some((offset_of(sql, t.span.start), name)),
        _ => None,
    });
    named.filter(|(offset, name)| sql[*offset..].starts_with(name.as_str())).collect()
}

/// The byte offset of a line and column, both from 1, the column in characters.
fn offset_of(sql: &str, at: Location) -> usize {
    let lines = sql.split_inclusive('\n').take(usize::try_from(at.line).unwrap_or(1).saturating_sub(1));
    let line_start: usize = lines.map(str::len).sum();
    let before = sql[line_start..].chars().take(usize::try_from(at.column).unwrap_or(1).saturating_sub(1));
    line_start + before.map(char::len_utf8).sum::<usize>()
}

/// The rows of `sql` whose `column` lies in `[start, end)` or is null.
pub(crate) fn within(sql: &str, column: &str, date: bool, start: Micros, end: Micros) -> String {
    let literal = if date { date_literal } else { timestamp };
    let column = format!("\"_piece\".\"{column}\"");
    let mut inside = Vec::new();
    if start != Micros::MIN {
        inside.push(format!("{column} >= {}", literal(start)));
    }
    if end != Micros::MAX {
        inside.push(format!("{column} < {}", literal(end)));
    }
    if inside.is_empty() {
        return sql.to_owned();
    }
    format!("SELECT * FROM (\n{sql}\n) AS \"_piece\" WHERE {column} IS NULL OR ({})", inside.join(" AND "))
}

/// `sql` with other tables for some of those that it reads: `renamed` gives the new `dataset.name` of an old one.
///
/// # Errors
/// `InvalidArgument` if the SQL does not parse.
pub(crate) fn rename_tables(sql: &str, renamed: impl Fn(&str) -> Option<String>) -> Result<String> {
    let wrong = |e| Error::invalid(format!("SQL does not parse: {e}"));
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(wrong)?;
    let other = |parts: &[&Ident]| match parts {
        [dataset, name] => renamed(&format!("{}.{}", dataset.value, name.value)),
        _ => None,
    };
    let halves = |full: &str| full.split_once('.').map(|(dataset, name)| [Ident::new(dataset), Ident::new(name)]);
    let _ = visit_relations_mut(&mut statements, |relation: &mut ObjectName| {
        let parts: Vec<_> = relation.0.iter().filter_map(ObjectNamePart::as_ident).collect();
        if let Some(new) = other(&parts).as_deref().and_then(halves) {
            relation.0 = new.into_iter().map(ObjectNamePart::Identifier).collect();
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    // A column may be named with its table's whole name; a dataset is never an alias.
    let _ = visit_expressions_mut(&mut statements, |expr: &mut Expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [dataset, name, rest @ ..] = parts.as_slice()
            && !rest.is_empty()
            && let Some(new) = other(&[dataset, name]).as_deref().and_then(halves)
        {
            *parts = new.into_iter().chain(rest.iter().cloned()).collect();
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    let all: Vec<_> = statements.iter().map(ToString::to_string).collect();
    Ok(all.join(";\n"))
}

fn timestamp(t: Micros) -> String {
    let text = t.to_rfc3339();
    format!("arrow_cast('{}', 'Timestamp(Microsecond, None)')", text.trim_end_matches('Z'))
}

fn date_literal(t: Micros) -> String {
    let text = t.to_rfc3339();
    format!("arrow_cast('{}', 'Date32')", text.split('T').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_in_text_and_comments_are_left_alone() {
        let sql = "select '$window_start', é -- $window_end\nfrom t where at >= $window_start\n and at<$window_end";
        let bound = bind(sql, Micros(0), Micros(86_400_000_000));
        assert!(bound.starts_with("select '$window_start', é -- $window_end\nfrom t where at >= arrow_cast('1970-01-01T00:00:00'"));
        assert!(bound.ends_with("at<arrow_cast('1970-01-02T00:00:00', 'Timestamp(Microsecond, None)')"));
        assert_eq!(bind("select $other", Micros(0), Micros(1)), "select $other");
    }

    #[test]
    fn tables_are_renamed_wherever_they_are_named() {
        let renamed = |name: &str| (name == "core.users").then(|| "core__dev.users".to_owned());
        let of = |sql: &str| rename_tables(sql, renamed).unwrap();
        assert_eq!(of("select core.users.id from core.users"), "SELECT core__dev.users.id FROM core__dev.users");
        let sql = of("with u as (select * from core.users as core) select core.users, '$window_start core.users' from u core \
                      where at >= $window_start and exists (select 1 from raw.users join core.users on true)");
        assert_eq!(sql.matches("core__dev.users").count(), 2, "{sql}");
        assert!(sql.contains("SELECT core.users, '$window_start core.users' FROM u core") && sql.contains("raw.users"), "{sql}");
        assert!(sql.contains("at >= $window_start"), "{sql}");
    }

    #[test]
    fn functions_that_tell_the_time_become_placeholders() {
        let sql = "select now() as t, 'now()', x.now, current_date -- now()\nfrom t where at < NOW ( ) and d = current_date() and e < current_timestamp";
        let want = "select $run_time as t, 'now()', x.now, cast($run_time as date) -- now()\nfrom t where at < $run_time and d = cast($run_time as date) and e < $run_time";
        assert_eq!(without_clocks(sql, RUN_TIME), want);
        assert!(at_run_time("select $run_time", Micros(0)).contains("'1970-01-01T00:00:00'"));
    }

    #[test]
    fn a_piece_keeps_rows_without_a_time() {
        let sql = within("select 1 -- x", "day", true, Micros(0), Micros(86_400_000_000));
        assert!(sql.contains("-- x\n)"));
        assert!(sql.ends_with(
            "WHERE \"_piece\".\"day\" IS NULL OR (\"_piece\".\"day\" >= arrow_cast('1970-01-01', 'Date32') AND \"_piece\".\"day\" < arrow_cast('1970-01-02', 'Date32'))"
        ));
        assert_eq!(within("select 1", "day", true, Micros::MIN, Micros::MAX), "select 1");
    }
}
