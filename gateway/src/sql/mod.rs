//! SQL over the cluster: `DataFusion` with tables that are tablets.

pub mod functions;
