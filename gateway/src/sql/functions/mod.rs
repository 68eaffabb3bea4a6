//! SQL functions beyond DataFusion's: JSON documents, undeclared attributes and C time formats.
//!
//! A JSON document is text. A map of undeclared attributes (text → JSON text) is taken as the object it stands
//! for, so that both kinds are read alike. What is not a JSON document is null to these functions.

mod get;
mod lists;
mod operators;
mod strftime;
#[cfg(test)]
mod tests;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// All functions of ours.
#[must_use]
pub fn all() -> Vec<ScalarUDF> {
    let mut functions = vec![get::function(get::Form::Json), get::function(get::Form::Text), strftime::function()];
    functions.extend(lists::functions());
    functions
}

/// Adds the functions, and the operators `->` and `->>`, to a registry.
///
/// # Errors
/// Those of the registry.
pub fn register_in(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in all() {
        registry.register_udf(Arc::new(function))?;
    }
    registry.register_expr_planner(Arc::new(operators::Arrows))
}

/// [`register_in`] for a session.
///
/// # Errors
/// Those of the session.
pub fn register(session: &SessionContext) -> Result<()> {
    // A clone shares the session's state.
    register_in(&mut session.clone())
}
