//! Logs go to stderr; `STELE_LOG` filters them (`info`, `warn,gateway=debug`).

use anyhow::{Context, Result};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Starts logging; `default` filters if `STELE_LOG` is unset.
pub fn start(default: &str) -> Result<()> {
    let wanted = std::env::var("STELE_LOG").unwrap_or_else(|_| default.to_owned());
    let filter =
        EnvFilter::try_new(&wanted).with_context(|| format!("STELE_LOG '{wanted}': write a filter such as info or warn,gateway=debug"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal()).init();
    Ok(())
}
