use common::{Error, Result};

/// The dataset of Stele's own tables.
const SYSTEM: &str = "system.";

/// Refuses names in the dataset of Stele's own tables.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn check_dataset(name: &str) -> Result<()> {
    if name.starts_with(SYSTEM) {
        return Err(Error::invalid(format!("table '{name}': the dataset 'system' belongs to Stele; choose another")));
    }
    Ok(())
}
