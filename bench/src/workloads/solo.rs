//! Stele's engine alone, over a store that counts, through several lives.

use crate::engines::stele::Writer;
use crate::events::Event;
use crate::store::Counting;
use anyhow::{Context, Result};
use common::Error;
use common::ids::{Epoch, Incarnation, Seq, ServerId, TabletId};
use common::key::KeyRange;
use common::row::RowMutation;
use common::schema::Table;
use common::store::DurableLocal;
use common::time::SystemClock;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use storage::{Engine, EngineConfig, Tablet, TabletOpen};

const TABLET: TabletId = TabletId(1);

/// One engine with one tablet of events.
pub(super) struct Solo {
    pub(super) engine: Arc<Engine>,
    pub(super) tablet: Tablet,
    pub(super) store: Arc<Counting>,
    pub(super) writer: Writer,
    place: Place,
    life: u64,
}

/// Where an engine lies and how it is tuned.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) table: Arc<Table>,
    pub(super) put_delay: Duration,
    pub(super) tune: fn(&mut EngineConfig),
}

impl Place {
    pub(super) fn new(dir: PathBuf, table: Table, tune: fn(&mut EngineConfig)) -> Self {
        Self { dir, table: Arc::new(table), put_delay: Duration::ZERO, tune }
    }

    async fn engine(&self, life: u64) -> Result<(Arc<Engine>, Arc<Counting>)> {
        let local = DurableLocal::open(&self.dir.join("store"))?;
        let store = Arc::new(Counting::new(Arc::new(local), self.put_delay));
        let log = self.dir.join("log");
        let mut config = EngineConfig::new(ServerId(1), Incarnation(life), store.clone(), log, SystemClock::shared());
        config.write_patience = Duration::from_secs(60);
        (self.tune)(&mut config);
        Ok((Engine::open(config).await?, store))
    }

    fn tablet(&self, life: u64) -> TabletOpen {
        TabletOpen { tablet: TABLET, range: KeyRange::ALL, epoch: Epoch(life), table: self.table.clone(), pin: None, log_fence: None }
    }
}

impl Solo {
    pub(super) async fn open(place: Place) -> Result<Self> {
        let (engine, store) = place.engine(1).await?;
        let tablet = engine.open_tablet(place.tablet(1)).await?;
        let writer = Writer::new(&place.table);
        Ok(Self { engine, tablet, store, writer, place, life: 1 })
    }

    /// Ends this life: everything is flushed, nothing is cached.
    pub(super) async fn close(&self) -> Result<()> {
        self.engine.close_tablet(TABLET).await?;
        Ok(self.engine.shutdown().await?)
    }

    /// Begins the next life, its tablet not yet open.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.life += 1;
        (self.engine, self.store) = self.place.engine(self.life).await?;
        Ok(())
    }

    /// Opens the tablet in a new life.
    pub(super) async fn open_tablet(&mut self) -> Result<()> {
        self.tablet = self.engine.open_tablet(self.place.tablet(self.life)).await?;
        Ok(())
    }

    /// Closes and opens again with nothing cached, changes since `pin` kept.
    pub(super) async fn reopen_pinned(&mut self, pin: Seq) -> Result<()> {
        self.close().await?;
        self.restart().await?;
        let open = TabletOpen { pin: Some(pin), ..self.place.tablet(self.life) };
        self.tablet = self.engine.open_tablet(open).await?;
        Ok(())
    }

    /// Writes rows; where the engine refuses them because it cannot keep up, again when it says.
    pub(super) async fn write(&self, rows: Vec<RowMutation>) -> Result<()> {
        let results = loop {
            match self.tablet.write(rows.clone(), None).await {
                Err(Error { retry_after: Some(after), .. }) => tokio::time::sleep(after).await,
                known => break known.context("write a batch")?,
            }
        };
        results.into_iter().try_for_each(|r| r.map(|_| ())).context("write a row")
    }

    /// Writes events in batches, some of them in flight at once.
    pub(super) async fn load(&self, events: impl Iterator<Item = Event>) -> Result<()> {
        const BATCH: usize = 1_000;
        const IN_FLIGHT: usize = 4;
        let mut events = events.peekable();
        let mut flying = futures::stream::FuturesUnordered::new();
        while events.peek().is_some() {
            let rows: Vec<_> = events.by_ref().take(BATCH).map(|e| self.writer.mutation(&e)).collect();
            flying.push(self.write(rows));
            if flying.len() >= IN_FLIGHT {
                futures::StreamExt::next(&mut flying).await.transpose()?;
            }
        }
        while futures::StreamExt::next(&mut flying).await.transpose()?.is_some() {}
        Ok(())
    }
}
