//! Claims that live: kept alive as long as their run goes on, ended when it is dropped.

use crate::cluster::Cluster;
use common::ids::{ClaimId, RunId, Seq};
use common::rpc::master::{CLAIM_TTL, Command, Reply};
use common::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The claims of one runner.
#[derive(Debug)]
pub struct Claims {
    cluster: Arc<Cluster>,
    /// A plain lock, as it is held for an insert, a removal or a copy only.
    live: Mutex<BTreeSet<ClaimId>>,
}

/// One live claim. Dropped before [`Claim::settle`], its run is abandoned.
#[derive(Debug)]
pub struct Claim {
    claims: Arc<Claims>,
    /// Its number.
    pub id: ClaimId,
    /// The run.
    pub run: RunId,
    /// The version that the run's difference is taken against.
    pub base: Seq,
    settled: bool,
}

impl Claims {
    /// No claims.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        Arc::new(Self { cluster, live: Mutex::default() })
    }

    /// Asks for a claim.
    ///
    /// # Errors
    /// `FailedPrecondition` if another run has some of the windows or the definition has changed.
    pub async fn claim(self: &Arc<Self>, command: Command) -> Result<Claim> {
        match self.cluster.submit(command).await? {
            Reply::Claimed { claim, run, base } => {
                self.with(|live| live.insert(claim));
                Ok(Claim { claims: self.clone(), id: claim, run, base, settled: false })
            }
            other => Err(Error::internal(format!("a claim was answered with {other:?}"))),
        }
    }

    /// Tells the master, until it is dropped, that the claims live.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(CLAIM_TTL / 6).await;
            let claims = self.live();
            if claims.is_empty() {
                continue;
            }
            if let Err(e) = self.cluster.submit(Command::KeepClaims { claims }).await {
                tracing::warn!(error = %e, "claims could not be kept; their runs may have to be redone");
            }
        }
    }

    /// The claims that live now.
    #[must_use]
    pub fn live(&self) -> Vec<ClaimId> {
        self.with(|live| live.iter().copied().collect())
    }

    /// Ends claims, so that nobody has to wait until they end by themselves.
    pub async fn end(&self, claims: Vec<ClaimId>) {
        for claim in claims {
            if let Err(e) = self.cluster.submit(Command::Abandon { claim, record: None }).await {
                tracing::debug!(%claim, error = %e, "a claim could not be ended; it ends by itself");
            }
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeSet<ClaimId>) -> T) -> T {
        f(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Claim {
    /// The master has ended this claim, by a publish or otherwise.
    pub fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.with(|live| live.remove(&self.id));
        if self.settled {
            return;
        }
        let (claim, claims) = (self.id, self.claims.clone());
        // Without a runtime the process is ending: the claim ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { claims.end(vec![claim]).await });
        }
    }
}
