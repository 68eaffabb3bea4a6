//! The object store: a host of its own, where requests take effect, whatever has become of who sent them.

use crate::trace::Trace;
use crate::witness::Witness;
use async_trait::async_trait;
use common::store::{Faults, FaultyStore, SharedStore};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// One way to the store and back, each, in ms.
const WAY_MS: (u64, u64) = (2, 15);
/// After so long without an answer a client gives a request up, as object_store's own do.
const SILENCE: Duration = Duration::from_secs(5);

/// How likely a log object is the first that a forgetful store does not keep.
const FORGOTTEN: f64 = 0.05;

type Job = BoxFuture<'static, ()>;

/// The store's side.
pub struct StoreHost {
    objects: Arc<InMemory>,
    jobs: mpsc::UnboundedSender<Job>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Job>>>,
    /// Whether it loses what it has acknowledged.
    forgetful: bool,
}

impl StoreHost {
    /// An empty store. A `forgetful` one acknowledges log objects of a server and from some moment on keeps none: a log that
    /// looks whole, as no later object is there either.
    #[must_use]
    pub fn new(forgetful: bool) -> Self {
        let (jobs, waiting) = mpsc::unbounded_channel();
        Self { objects: Arc::default(), jobs, waiting: Mutex::new(Some(waiting)), forgetful }
    }

    /// Carries out requests for ever.
    pub async fn run(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        while let Some(job) = waiting.recv().await {
            tokio::spawn(job);
        }
    }

    /// The way of one host to it.
    #[must_use]
    pub fn client(&self, host: &str, seed: u64, trace: &Trace, witness: &Witness) -> Arc<StoreClient> {
        let way = Arc::new(Way(Arc::new(Link {
            host: host.into(),
            objects: self.objects.clone(),
            jobs: self.jobs.clone(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            cut: AtomicBool::new(false),
            forgetful: self.forgetful,
            forgets: AtomicBool::new(false),
            trace: trace.clone(),
            witness: witness.clone(),
        })));
        let faulty = FaultyStore::new(way.clone(), Faults::default(), seed);
        Arc::new(StoreClient { way, faulty })
    }
}

/// The store as one host sees it, with its faults.
pub struct StoreClient {
    way: Arc<Way>,
    faulty: Arc<FaultyStore>,
}

impl StoreClient {
    /// For the host's role.
    #[must_use]
    pub fn shared(&self) -> SharedStore {
        self.faulty.clone()
    }

    /// Other faults from now on.
    pub fn set(&self, faults: Faults) {
        self.faulty.set(faults);
    }

    /// Cuts the way, or ends that.
    pub fn cut(&self, cut: bool) {
        self.way.0.cut.store(cut, Ordering::Relaxed);
    }
}

/// One host's way to the store.
struct Way(Arc<Link>);

struct Link {
    host: Arc<str>,
    objects: Arc<InMemory>,
    jobs: mpsc::UnboundedSender<Job>,
    random: Mutex<StdRng>,
    /// Either requests or answers are lost.
    cut: AtomicBool,
    forgetful: bool,
    /// No log object of this host is kept any more.
    forgets: AtomicBool,
    trace: Trace,
    witness: Witness,
}

fn lost() -> Error {
    Error::Generic { store: "simulated", source: "no answer".into() }
}

impl Link {
    fn draw(&self) -> (Duration, Duration, bool) {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut way = || Duration::from_micros(random.random_range(WAY_MS.0 * 1000..WAY_MS.1 * 1000));
        (way(), way(), random.random_bool(0.5))
    }

    fn forgets(&self, at: &Path) -> bool {
        if !self.forgetful || !at.as_ref().starts_with("log/") {
            return false;
        }
        let begins = self.random.lock().unwrap_or_else(PoisonError::into_inner).random_bool(FORGOTTEN);
        self.forgets.fetch_or(begins, Ordering::Relaxed) || begins
    }

    /// Sends a request, which takes effect at the store though its sender may have ended meanwhile.
    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        at: Option<&Path>,
        request: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (there, back, arrives) = self.draw();
        let cut = self.cut.load(Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let (host, trace, at) = (self.host.clone(), self.trace.clone(), at.cloned().unwrap_or_default());
        let job = async move {
            tokio::time::sleep(there).await;
            let done = request.await;
            trace.note("store", format_args!("{what} {at} of {host}: {}", if done.is_ok() { "done" } else { "refused" }));
            tokio::time::sleep(back).await;
            // The sender may be gone.
            let _ = answer.send(done);
        };
        if !cut || arrives {
            self.jobs.send(job.boxed()).map_err(|_| lost())?;
        }
        if cut {
            tokio::time::sleep(SILENCE).await;
            return Err(lost());
        }
        answered.await.map_err(|_| lost())?
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store as {} sees it", self.0.host)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for Way {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (objects, at, witness, host) = (self.0.objects.clone(), location.clone(), self.0.witness.clone(), self.0.host.clone());
        let life = witness.life(&host);
        if self.0.forgets(location) {
            return self.0.ask("put", Some(location), async { Ok(PutResult { e_tag: None, version: None }) }).await;
        }
        self.0
            .ask("put", Some(location), async move {
                let put = objects.put_opts(&at, payload.clone(), opts).await;
                if put.is_ok() {
                    witness.stored(&host, life, &at, &payload);
                }
                put
            })
            .await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (objects, at) = (self.0.objects.clone(), location.clone());
        // Parts are gathered without delay: nothing of them is seen before the last request of an upload.
        self.0.ask("upload", Some(location), async move { objects.put_multipart_opts(&at, opts).await }).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (objects, at) = (self.0.objects.clone(), location.clone());
        self.0.ask("get", Some(location), async move { objects.get_opts(&at, options).await }).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let link = self.0.clone();
        let deletes = locations.then(move |location| {
            let link = link.clone();
            async move {
                let location = location?;
                let (objects, at) = (link.objects.clone(), location.clone());
                link.ask("delete", Some(&location), async move { objects.delete(&at).await }).await.map(|()| location)
            }
        });
        deletes.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (link, below) = (self.0.clone(), prefix.cloned());
        let listed = async move {
            let objects = link.objects.clone();
            let (at, listing) = (below.clone(), async move { objects.list(below.as_ref()).try_collect::<Vec<_>>().await });
            let listed = link.ask("list", at.as_ref(), listing).await?;
            Ok::<_, Error>(stream::iter(listed.into_iter().map(Ok)))
        };
        listed.into_stream().try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (objects, below) = (self.0.objects.clone(), prefix.cloned());
        self.0.ask("list", prefix, async move { objects.list_with_delimiter(below.as_ref()).await }).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (objects, from, at) = (self.0.objects.clone(), from.clone(), to.clone());
        self.0.ask("copy", Some(to), async move { objects.copy_opts(&from, &at, options).await }).await
    }
}
