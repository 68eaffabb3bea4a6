//! Templates in SQL: variables and macros, rendered when a project is compiled.
//!
//! `{{ var.name }}` is a variable of `stele.yaml`; files of `macros/` are imported by their name
//! (`{% from "sessions.jinja" import gap %}`). Window ends and the run time are not known yet: they are
//! opaque and render to placeholders of SQL, in which their arithmetic belongs.

use crate::problem::Problem;
use crate::sql::{RUN_TIME, WINDOW_END, WINDOW_START};
use minijinja::value::{Object, ObjectRepr, Serde};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What templates may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Templates {
    /// By name.
    pub variables: BTreeMap<String, serde_json::Value>,
    /// Text by file name within `macros/`.
    pub macros: BTreeMap<String, String>,
}

/// Where a text comes from, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its file.
    pub file: &'a str,
    /// Lines of that file before its first.
    pub lines_before: usize,
}

/// A value that is known only when a run starts.
#[derive(Debug)]
struct Opaque(&'static str);

impl Object for Opaque {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Renders SQL. Macros are parsed once.
#[derive(Debug)]
pub struct Renderer {
    templates: Templates,
    env: Environment<'static>,
    /// What is wrong with macro files, by name.
    broken: BTreeMap<String, Problem>,
    context: Value,
}

impl Renderer {
    /// A renderer with these variables and macros.
    #[must_use]
    pub fn new(templates: Templates) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        let mut broken = BTreeMap::new();
        for (name, source) in &templates.macros {
            if let Err(e) = env.add_template_owned(name.clone(), source.clone()) {
                broken.insert(name.clone(), problem(Origin { file: &format!("macros/{name}"), lines_before: 0 }, &e));
            }
        }
        let window =
            Value::from_pairs([("start", Value::from_object(Opaque(WINDOW_START))), ("end", Value::from_object(Opaque(WINDOW_END)))]);
        let context = minijinja::context! {
            var => Value::from(Serde(&templates.variables)),
            window => window,
            run_time => Value::from_object(Opaque(RUN_TIME)),
        };
        Self { templates, env, broken, context }
    }

    /// Whether it renders with these.
    #[must_use]
    pub fn is_of(&self, templates: &Templates) -> bool {
        self.templates == *templates
    }

    /// Renders one SQL text.
    ///
    /// # Errors
    /// What the template asks for and cannot have, with its line.
    pub fn render(&self, origin: Origin<'_>, text: &str) -> Result<String, Problem> {
        if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
            return Ok(text.strip_suffix('\n').unwrap_or(text).to_owned());
        }
        let rendered = self.env.render_named_str(MAIN, text, &self.context).map_err(|e| self.fault(origin, &e))?;
        check_placeholders(origin, &rendered)?;
        Ok(rendered)
    }

    fn fault(&self, origin: Origin<'_>, error: &minijinja::Error) -> Problem {
        if error.kind() == ErrorKind::TemplateNotFound
            && let Some((_, problem)) = self.broken.iter().find(|(name, _)| error.to_string().contains(name.as_str()))
        {
            return problem.clone();
        }
        match error.name() {
            Some(name) if name != MAIN => problem(Origin { file: &format!("macros/{name}"), lines_before: 0 }, error),
            _ => problem(origin, error),
        }
    }
}

/// The name of the rendered text; no macro file is called so, as it is no file name.
const MAIN: &str = "<sql>";

fn problem(origin: Origin<'_>, error: &minijinja::Error) -> Problem {
    let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.kind() {
        ErrorKind::InvalidOperation => message.push_str(
            ": window.start, window.end and run_time are not known in templates; write their arithmetic in SQL, as in {{ window.start }} - interval '1 day'",
        ),
        ErrorKind::UndefinedError => message = "an undefined name: variables are {{ var.name }}, from stele.yaml".into(),
        _ => {}
    }
    let line = error.line().map_or(0, |l| origin.lines_before + l);
    Problem { file: origin.file.into(), line, column: 0, message: format!("template: {message}") }
}

/// A placeholder inside of quotes would be text: refused, as it cannot be meant.
fn check_placeholders(origin: Origin<'_>, sql: &str) -> Result<(), Problem> {
    for name in [WINDOW_START, WINDOW_END, RUN_TIME] {
        for (at, _) in sql.match_indices(name) {
            let before = &sql[..at];
            if before.ends_with(['\'', '"']) {
                let line = origin.lines_before + before.matches('\n').count() + 1;
                let message = format!("'{}' in quotes is text: write it without quotes, it is a timestamp", &name[1..].replace('_', "."));
                return Err(Problem { file: origin.file.into(), line, column: 0, message });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, Problem> {
        let templates = Templates {
            variables: BTreeMap::from([("gap".into(), serde_json::json!(30))]),
            macros: BTreeMap::from([("m.jinja".into(), "{% macro gap(c) %}{{ c }} + interval '{{ 30 }} minutes'{% endmacro %}".into())]),
        };
        Renderer::new(templates).render(Origin { file: "derived/x.yaml", lines_before: 4 }, text)
    }

    #[test]
    fn variables_and_macros_render() {
        assert_eq!(render("select {{ var.gap }}\n").unwrap(), "select 30");
        assert_eq!(render("{% from \"m.jinja\" import gap %}select {{ gap('at') }}").unwrap(), "select at + interval '30 minutes'");
    }

    #[test]
    fn window_ends_are_opaque_placeholders() {
        let sql = render("where at >= {{ window.start }} and at < {{ window.end }} - interval '1 day'").unwrap();
        assert_eq!(sql, "where at >= $window_start and at < $window_end - interval '1 day'");
    }

    #[test]
    fn arithmetic_on_a_window_end_in_a_template_is_refused_with_a_hint() {
        for text in ["\n{{ window.start - 1 }}", "\n{{ window.end + 5 }}", "\n{{ run_time * 2 }}"] {
            let e = render(text).unwrap_err();
            assert!(e.message.contains("in SQL") && e.line == 6, "{e}");
        }
        let e = render("at >= '{{ window.start }}'").unwrap_err();
        assert!(e.message.contains("without quotes") && e.line == 5, "{e}");
    }

    #[test]
    fn an_undefined_name_is_refused() {
        assert!(render("{{ var.gapp }}").unwrap_err().message.contains("undefined"));
        assert!(render("{{ this }}").unwrap_err().message.contains("undefined"));
        assert!(render("{% if %}").unwrap_err().line == 5);
    }
}
