use common::{Error, ErrorKind};
use datafusion::error::DataFusionError;
use std::error::Error as StdError;
use std::time::Duration;

/// What a failed query is to its caller: our own errors as they are, mistakes in the SQL as `InvalidArgument`.
#[must_use]
pub fn from_datafusion(error: &DataFusionError) -> Error {
    if let Some(ours) = ours(error) {
        return ours;
    }
    let root = error.find_root();
    // What runs but fails (a cast, a division by zero) is in the query or its data.
    let kind = match root {
        DataFusionError::NotImplemented(_) => ErrorKind::Unimplemented,
        DataFusionError::Internal(_) | DataFusionError::IoError(_) | DataFusionError::ExecutionJoin(_) => ErrorKind::Internal,
        DataFusionError::ResourcesExhausted(_) => {
            return Error::exhausted(
                format!("the query needs more memory than is free: {}", root.strip_backtrace()),
                Duration::from_secs(5),
            );
        }
        _ => ErrorKind::InvalidArgument,
    };
    Error::new(kind, root.strip_backtrace())
}

/// An error of ours that a part of the query has met.
fn ours(error: &DataFusionError) -> Option<Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(ours) = e.downcast_ref::<Error>() {
            return Some(ours.clone());
        }
        cause = e.source();
    }
    None
}

/// Carries an error of ours through `DataFusion`.
pub(super) fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
