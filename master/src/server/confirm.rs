use crate::raft::Raft;
use common::{Error, Result};
use tokio::sync::{mpsc, oneshot};

type Waiter = oneshot::Sender<Result<()>>;

/// Confirms leadership by a quorum round that begins after it was asked for: one round for all that wait.
#[derive(Clone, Debug)]
pub(super) struct Confirm {
    ask: mpsc::UnboundedSender<Waiter>,
}

impl Confirm {
    /// Ends with the last handle.
    pub(super) fn start(raft: Raft) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        tokio::spawn(serve(raft, asked));
        Self { ask }
    }

    /// # Errors
    /// `Unavailable`, if this node does not lead or reaches no quorum.
    pub(super) async fn leadership(&self) -> Result<()> {
        let (waiter, answer) = oneshot::channel();
        let gone = || Error::unavailable("this master is shutting down");
        self.ask.send(waiter).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn serve(raft: Raft, mut asked: mpsc::UnboundedReceiver<Waiter>) {
    while let Some(first) = asked.recv().await {
        let mut waiters = vec![first];
        while let Ok(more) = asked.try_recv() {
            waiters.push(more);
        }
        let outcome = raft.ensure_linearizable().await;
        let answer = outcome.map(|_| ()).map_err(|e| Error::unavailable(format!("this master cannot confirm that it leads: {e}")));
        for waiter in waiters {
            let _ = waiter.send(answer.clone());
        }
    }
}
