//! Routing against an in-memory tablet service.
