//! The one layout of definitions: keys in the order of the documentation, SQL keywords in lower case, no trailing space.
//! Comments stay, and what a file means does too: a layout that would change it is refused.

use crate::problem::Problem;
use serde_yaml_ng::Value;

/// Keys of a definition in the order in which they are written.
const ORDER: [&str; 24] = [
    "name",
    "renamed_from",
    "description",
    "owner",
    "tags",
    "columns",
    "untag",
    "strategy",
    "window",
    "time_column",
    "meaning",
    "start",
    "schedule",
    "eager",
    "min_interval",
    "repair_interval",
    "late",
    "keep",
    "key",
    "inputs",
    "freshness",
    "retries",
    "timeout",
    "memory",
];

/// Words of SQL that are written in lower case.
const KEYWORDS: [&str; 73] = [
    "all",
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "cross",
    "current",
    "desc",
    "distinct",
    "else",
    "end",
    "escape",
    "except",
    "exists",
    "false",
    "filter",
    "following",
    "from",
    "full",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "intersect",
    "interval",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "preceding",
    "range",
    "recursive",
    "right",
    "row",
    "rows",
    "select",
    "similar",
    "then",
    "to",
    "true",
    "unbounded",
    "union",
    "unnest",
    "using",
    "values",
    "when",
    "where",
    "window",
    "with",
    "within",
    "first",
    "last",
    "ties",
    "cube",
    "rollup",
    "grouping",
    "sets",
];

/// A definition in the one layout.
///
/// # Errors
/// If the file does not parse, or its layout is one that cannot be changed without a change of meaning.
pub fn definition(file: &str, text: &str) -> Result<String, Problem> {
    let meaning = parsed(file, text)?;
    let laid = match blocks(text) {
        Some((head, blocks)) => join(&head, blocks),
        None => plain(text),
    };
    let same = parsed(file, &laid).is_ok_and(|after| without_layout(meaning) == without_layout(after));
    match same {
        true => Ok(laid),
        false => {
            Err(Problem::in_file(file, "its layout cannot be changed without changing what it says: put each key at the start of a line"))
        }
    }
}

/// A SQL file in the one layout.
#[must_use]
pub fn sql(text: &str) -> String {
    plain(&lower_keywords(text))
}

fn parsed(file: &str, text: &str) -> Result<Value, Problem> {
    serde_yaml_ng::from_str(text).map_err(|e| crate::yaml::of_syntax(file, &e))
}

/// What a definition says, with its SQL in the one layout.
fn without_layout(mut value: Value) -> Value {
    if let Some(Value::String(text)) = value.get_mut("sql") {
        *text = sql(text).trim().to_owned();
    }
    value
}

/// A top-level key with the comments above it and all lines of its value.
struct Block {
    key: String,
    lines: Vec<String>,
}

/// The comment at the head of a file and its blocks; `None` if it is not written in blocks.
fn blocks(text: &str) -> Option<(Vec<String>, Vec<Block>)> {
    let (mut head, mut above, mut blocks): (Vec<String>, Vec<String>, Vec<Block>) = (Vec::new(), Vec::new(), Vec::new());
    let mut in_text = false;
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        match (line.trim().is_empty(), indented, blocks.last_mut()) {
            // Within a block of text a line that looks like a comment is text.
            (true, _, Some(block)) if in_text => block.lines.push(line.to_owned()),
            (_, true, Some(block)) => {
                block.lines.append(&mut above);
                block.lines.push(line.to_owned());
            }
            (true, ..) => above.push(String::new()),
            _ if line.starts_with('#') => above.push(line.to_owned()),
            // Items of a list may stand as far left as its key.
            (_, _, Some(block)) if line.starts_with("- ") => {
                block.lines.append(&mut above);
                block.lines.push(line.to_owned());
            }
            _ => {
                let (key, value) =
                    line.split_once(':').filter(|(key, _)| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))?;
                if blocks.is_empty() {
                    head = std::mem::take(&mut above);
                }
                in_text = value.trim_start().starts_with(['|', '>']);
                let mut lines = std::mem::take(&mut above);
                lines.push(line.to_owned());
                blocks.push(Block { key: key.to_owned(), lines });
            }
        }
    }
    match blocks.last_mut() {
        None => return None,
        Some(last) => last.lines.append(&mut above),
    }
    Some((head, blocks))
}

fn join(head: &[String], mut blocks: Vec<Block>) -> String {
    let place = |block: &Block| match ORDER.iter().position(|key| *key == block.key) {
        Some(at) => at,
        None if block.key == "sql" => ORDER.len() + 1,
        None => ORDER.len(),
    };
    blocks.sort_by_key(place);
    let mut lines: Vec<String> = head.to_vec();
    for block in blocks {
        match block.key == "sql" {
            true => lines.extend(lower_keywords(&block.lines.join("\n")).lines().map(str::to_owned)),
            false => lines.extend(block.lines),
        }
    }
    plain(&lines.join("\n"))
}

/// Without tabs and spaces at the ends of lines, and without more than one empty line in a row.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = true;
    for line in text.lines() {
        let bare = line.trim_start_matches([' ', '\t']);
        let indent: String = line[..line.len() - bare.len()].replace('\t', "  ");
        let line = format!("{indent}{bare}");
        let line = line.trim_end();
        if !(line.is_empty() && empty) {
            out.push_str(line);
            out.push('\n');
        }
        empty = line.is_empty();
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    out
}

/// Keywords outside of texts, comments, quoted names and templates in lower case.
fn lower_keywords(sql: &str) -> String {
    const ENCLOSED: [(&str, &str); 8] =
        [("'", "'"), ("\"", "\""), ("--", "\n"), ("/*", "*/"), ("{{", "}}"), ("{%", "%}"), ("{#", "#}"), ("$$", "$$")];
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = if let Some((open, close)) = ENCLOSED.iter().find(|(open, _)| rest.starts_with(open)) {
            rest[open.len()..].find(close).map_or(rest.len(), |at| open.len() + at + close.len())
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let piece = &rest[..length];
        let is_name = out.ends_with('.') || rest[length..].starts_with('.');
        match !is_name && KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(piece)) {
            true => out.push_str(&piece.to_ascii_lowercase()),
            false => out.push_str(piece),
        }
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_and_comments_stay_with_them() {
        let text = "# yaml-language-server: x\n\n# about sql\nsql: |\n  SELECT a, 'FROM'  \n\n\n  -- FROM here\n  FROM {{ FROM }}.T\tWHERE \"ON\" = 1\nkey:\n- partition: [a]\n# the name\nname: a.b\n";
        let laid = definition("f.yaml", text).unwrap();
        assert_eq!(
            laid,
            "# yaml-language-server: x\n\n# about sql\n# the name\nname: a.b\nkey:\n- partition: [a]\nsql: |\n  select a, 'FROM'\n\n  -- FROM here\n  from {{ FROM }}.T\twhere \"ON\" = 1\n"
        );
        assert_eq!(definition("f.yaml", &laid).unwrap(), laid, "laid out twice is laid out once");
    }

    #[test]
    fn what_is_not_written_in_blocks_is_left_alone() {
        assert_eq!(definition("f.yaml", "{name: a.b, sql: select 1}").unwrap(), "{name: a.b, sql: select 1}\n");
        assert!(definition("f.yaml", "a: [\n").is_err());
    }

    #[test]
    fn sql_keeps_names_texts_comments_and_templates() {
        assert_eq!(
            sql("SELECT t.ORDER, Date, 'IS' /* OR */\n\n\n\tFROM raw.T AS t -- ON\nORDER BY 1"),
            "select t.ORDER, Date, 'IS' /* OR */\n\n  from raw.T as t -- ON\norder by 1\n"
        );
        assert_eq!(sql("{% if x IN y %}SELECT 1{% endif %}"), "{% if x IN y %}select 1{% endif %}\n");
        assert_eq!(sql("select 'é FROM"), "select 'é FROM\n", "an open text stays");
    }
}
