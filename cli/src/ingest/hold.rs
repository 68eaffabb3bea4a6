use crate::client::Client;
use common::rpc::master::INGEST_TTL;
use reqwest::Method;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

/// An open bulk ingest: windowed readers of the table wait until it is closed.
pub struct Hold {
    client: Client,
    table: String,
    name: String,
    keeper: JoinHandle<()>,
}

impl Hold {
    /// Opens a bulk ingest, and keeps it open until it is closed or this process ends.
    pub async fn open(client: &Client, table: &str) -> anyhow::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let name = format!("ingest-{}-{}", std::process::id(), now.as_micros());
        let (client, table) = (client.clone(), table.to_owned());
        keep(&client, &table, &name).await?;
        let keeper = tokio::spawn({
            let (client, table, name) = (client.clone(), table.clone(), name.clone());
            async move {
                loop {
                    tokio::time::sleep(INGEST_TTL / 4).await;
                    // One lost message costs nothing; a gateway that stays away fails the upload itself.
                    if let Err(e) = keep(&client, &table, &name).await {
                        tracing::debug!("keeping the ingest open: {e:#}");
                    }
                }
            }
        });
        Ok(Self { client, table, name, keeper })
    }

    /// Closes it.
    pub async fn close(self) -> anyhow::Result<()> {
        self.keeper.abort();
        self.client.done(self.client.request(Method::DELETE, &["tables", &self.table, "ingests", &self.name])).await
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(client: &Client, table: &str, name: &str) -> anyhow::Result<()> {
    client.done(client.request(Method::PUT, &["tables", table, "ingests", name])).await
}
