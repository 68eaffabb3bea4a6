use common::{Error, Result};

/// The table `dataset.name` that `projects/P/instances/I/tables/dataset.name` stands for. Project and instance may be any: who is
/// connected has chosen the cluster.
///
/// # Errors
/// `InvalidArgument` for any other form.
pub fn table(name: &str) -> Result<&str> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["projects", project, "instances", instance, "tables", table] if ![project, instance, table].iter().any(|part| part.is_empty()) => {
            Ok(table)
        }
        _ => Err(Error::invalid(format!(
            "'{name}' is no table's name: write projects/PROJECT/instances/INSTANCE/tables/DATASET.NAME, with any project and instance"
        ))),
    }
}

/// Refuses what is addressed to a view.
///
/// # Errors
/// `Unimplemented` if it is.
pub fn no_view(name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    Err(Error::unimplemented(format!("there are no authorized views ('{name}'): write the table itself")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ErrorKind;

    #[test]
    fn a_table_has_its_name_in_any_project_and_instance() {
        assert_eq!(table("projects/p/instances/i/tables/raw.events").unwrap(), "raw.events");
        assert_eq!(table("projects/other-1/instances/x/tables/a__dev.b").unwrap(), "a__dev.b");
    }

    #[test]
    fn other_forms_are_refused() {
        for wrong in
            ["", "raw.events", "projects/p/instances/i/tables/", "projects//instances/i/tables/t", "projects/p/instances/i/tables/t/x"]
        {
            let e = table(wrong).unwrap_err();
            assert_eq!(e.kind, ErrorKind::InvalidArgument);
            assert!(e.message.contains(&format!("'{wrong}'")), "{e}");
        }
        assert_eq!(no_view("projects/p/instances/i/tables/t/authorizedViews/v").unwrap_err().kind, ErrorKind::Unimplemented);
        no_view("").unwrap();
    }
}
