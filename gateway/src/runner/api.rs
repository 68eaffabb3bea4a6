//! What the REST routes of derived tables call.
