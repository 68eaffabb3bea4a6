//! The RPC that the roles speak: gRPC with messages that need no protoc.
//!
//! The data plane ([`tablet`]) has protobuf messages of its own; the control plane ([`master`]) carries
//! catalog documents as JSON, so that an added optional field stays readable by an older peer. What carries both
//! is injected ([`net`]).

pub mod channel;
pub mod master;
pub mod net;
pub mod status;
pub mod tablet;

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// Generated code: `stele.v1.Master`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
pub mod master_service {
    include!(concat!(env!("OUT_DIR"), "/stele.v1.Master.rs"));
}

/// Generated code: `stele.v1.Raft`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
pub mod raft_service {
    include!(concat!(env!("OUT_DIR"), "/stele.v1.Raft.rs"));
}

/// Generated code: `stele.v1.Tablets`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
pub mod tablets_service {
    include!(concat!(env!("OUT_DIR"), "/stele.v1.Tablets.rs"));
}

/// A control-plane message: one JSON document.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Json {
    /// UTF-8 JSON.
    #[prost(bytes = "bytes", tag = "1")]
    pub document: bytes::Bytes,
}

/// A message between master nodes: one record in its envelope.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    /// See [`crate::envelope`].
    #[prost(bytes = "bytes", tag = "1")]
    pub record: bytes::Bytes,
}

impl Json {
    /// Encodes `value`.
    ///
    /// # Errors
    /// `Internal` if the type has no JSON form.
    pub fn of<T: Serialize>(value: &T) -> Result<Self> {
        let document = serde_json::to_vec(value).map_err(|e| Error::internal(format!("message does not encode: {e}")))?;
        Ok(Self { document: document.into() })
    }

    /// Decodes into `T`.
    ///
    /// # Errors
    /// `InvalidArgument`, with the place in the document.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.document).map_err(|e| Error::invalid(format!("message does not decode: {e}")))
    }
}
