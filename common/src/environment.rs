//! Names of tables in environments: `game.revenue` in environment `dev` is the table `game__dev.revenue`.
//!
//! The environment that serves, production, has no name; its tables are called as their definitions say.

/// Between a dataset and the environment.
const MARK: &str = "__";
/// The environment in which applied changes are built that cannot take the place of what serves at once.
pub const NEXT: &str = "next";
/// How names of environments begin that keep what a change has replaced.
pub const UNDO: &str = "undo";

/// The name of a table in an environment; `""` is production.
#[must_use]
pub fn name_in(environment: &str, name: &str) -> String {
    match name.split_once('.') {
        Some((dataset, rest)) if !environment.is_empty() => format!("{dataset}{MARK}{environment}.{rest}"),
        _ => name.to_owned(),
    }
}

/// The environment of a table; `""` is production.
#[must_use]
pub fn of(name: &str) -> &str {
    let dataset = name.split_once('.').map_or("", |(dataset, _)| dataset);
    dataset.split_once(MARK).map_or("", |(_, environment)| environment)
}

/// A table's environment and its name there.
#[must_use]
pub fn split(name: &str) -> (&str, String) {
    let environment = of(name);
    let plain = if environment.is_empty() { name.to_owned() } else { name.replacen(&format!("{MARK}{environment}."), ".", 1) };
    (environment, plain)
}

/// Checks the name of an environment that somebody chooses.
///
/// # Errors
/// A sentence that says what a name may be.
pub fn check(environment: &str) -> Result<(), String> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let fits = !environment.is_empty() && environment.len() <= 32 && environment.chars().all(is_word);
    if !fits || environment.contains(MARK) || environment.starts_with('_') || environment.ends_with('_') {
        return Err(format!("environment '{environment}': a name is 1 to 32 lower case letters, digits and single _ within"));
    }
    if environment == "prod" || environment == NEXT || environment.starts_with(UNDO) {
        return Err(format!("environment '{environment}': prod, next and undo… are Stele's own; choose another name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_into_an_environment_and_back() {
        assert_eq!(name_in("dev", "game.revenue"), "game__dev.revenue");
        assert_eq!(split("game__dev.revenue"), ("dev", "game.revenue".to_owned()));
        assert_eq!((name_in("", "game.revenue"), split("game.revenue")), ("game.revenue".to_owned(), ("", "game.revenue".to_owned())));
        assert_eq!((of("game__dev.revenue"), of("game.revenue"), of("no_dataset")), ("dev", "", ""));
        crate::schema::check_table_name(&name_in("pr_12", "game.revenue")).unwrap();
    }

    #[test]
    fn chosen_names_are_words_and_not_taken() {
        for name in ["dev", "pr_12", "a"] {
            check(name).unwrap();
        }
        for name in ["", "Dev", "a__b", "_a", "a_", "prod", "next", "undo3", "a.b", &"x".repeat(33)] {
            assert!(check(name).unwrap_err().contains(name), "{name}");
        }
    }
}
