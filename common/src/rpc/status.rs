//! [`Error`] ↔ gRPC status. The whole error travels in the status' details, so kinds that share a
//! gRPC code stay apart between our own processes.

use crate::{Error, ErrorKind};
use tonic::{Code, Status};

impl From<Error> for Status {
    fn from(e: Error) -> Self {
        let details = serde_json::to_vec(&e).unwrap_or_default();
        Status::with_details(Code::from(e.kind.row().grpc), e.message, details.into())
    }
}

impl From<Status> for Error {
    fn from(s: Status) -> Self {
        if let Ok(e) = serde_json::from_slice(s.details()) {
            return e;
        }
        let kind = match s.code() {
            Code::InvalidArgument => ErrorKind::InvalidArgument,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::AlreadyExists,
            Code::ResourceExhausted => ErrorKind::ResourceExhausted,
            Code::DeadlineExceeded | Code::Cancelled => ErrorKind::DeadlineExceeded,
            Code::Unimplemented => ErrorKind::Unimplemented,
            Code::DataLoss => ErrorKind::Corrupt,
            Code::Internal => ErrorKind::Internal,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, s.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_error_crosses_the_wire_whole() {
        for e in [Error::exhausted("slow down", Duration::from_millis(250)), Error::not_mine("tablet 7"), Error::changes_lost("x")] {
            assert_eq!(Error::from(Status::from(e.clone())), e);
        }
    }
}
