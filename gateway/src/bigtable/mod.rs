//! The Bigtable API (`google.bigtable.v2`), for its clients: so far `MutateRow` and `MutateRows`.
//!
//! It shares the port of REST. Parts, one way: `messages`, `names`, `deadline` → `status` → `body`, `mutations` → `service` →
//! [`routes`].

mod body;
mod deadline;
pub mod messages;
mod mutations;
#[cfg(test)]
mod mutations_tests;
mod names;
mod service;
mod status;
#[cfg(test)]
mod tests;

use crate::cluster::Cluster;
use crate::writes::Admission;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;
use body::Held;
use common::{Error, limits};
use server::bigtable_server::BigtableServer;
use service::Service;
use std::sync::Arc;
use tonic::Status;

/// Generated code: `google.bigtable.v2.Bigtable`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
mod server {
    include!(concat!(env!("OUT_DIR"), "/google.bigtable.v2.Bigtable.rs"));
}

pub use server::bigtable_client::BigtableClient;

type Answer = axum::http::Response<tonic::body::Body>;

/// What calls share.
#[derive(Clone)]
struct Api {
    server: BigtableServer<Service>,
    admission: Arc<Admission>,
}

/// The methods that there are, and for all others of Google's Bigtable services that they are not.
pub fn routes(cluster: Arc<Cluster>, admission: Arc<Admission>) -> Router {
    let service = Service { cluster, admission: admission.clone() };
    let server = BigtableServer::new(service).max_decoding_message_size(limits::MAX_RPC_MESSAGE_BYTES);
    Router::new()
        .route("/google.bigtable.v2.Bigtable/MutateRow", post(call))
        .route("/google.bigtable.v2.Bigtable/MutateRows", post(call))
        .route("/google.bigtable.v2.Bigtable/{method}", post(missing))
        .route("/google.bigtable.admin.v2.BigtableTableAdmin/{method}", post(missing))
        .route("/google.bigtable.admin.v2.BigtableInstanceAdmin/{method}", post(missing))
        .with_state(Api { server, admission })
}

/// One call: its message is taken in as there is room, and it is answered within its time.
async fn call(State(mut api): State<Api>, request: Request) -> Answer {
    let within = match deadline::of(request.headers()) {
        Ok(within) => within,
        Err(e) => return status::of_call(&e).into_http(),
    };
    let held = Arc::new(Held::default());
    let request = request.map(|body| body::admitted(body, api.admission.clone(), held.clone()));
    let answering = tonic::codegen::Service::call(&mut api.server, request);
    let answer = match within {
        None => Ok(answering.await),
        Some(within) => tokio::time::timeout(within, answering).await,
    };
    match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(_) => {
            let text = "there is no answer within the time of the call: what was to be written may be there or not";
            status::of_call(&Error::deadline(text)).into_http()
        }
    }
}

async fn missing(request: Request) -> Answer {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    Status::unimplemented(format!(
        "{method} is not there: of the Bigtable API there are MutateRow and MutateRows; REST (see /docs) does all else"
    ))
    .into_http()
}
