use super::messages::{Any, Duration, RetryInfo, RpcStatus};
use common::Error;
use prost::Message;
use std::time;
use tonic::{Code, Status};

/// How long to wait after a refusal that does not say it itself.
const USUAL: time::Duration = time::Duration::from_secs(1);

/// An error as a row's part of an answer. What was surely not carried out says when to send it again.
pub fn of_row(e: &Error) -> RpcStatus {
    let wait = e.is_retryable().then(|| e.retry_after.unwrap_or(USUAL));
    RpcStatus { code: e.kind.row().grpc, message: e.message.clone(), details: wait.map(retry_info).into_iter().collect() }
}

/// An error as the answer to a call, in the form that Google's clients read.
pub fn of_call(e: &Error) -> Status {
    let status = of_row(e);
    Status::with_details(Code::from(status.code), e.message.clone(), status.encode_to_vec().into())
}

fn retry_info(wait: time::Duration) -> Any {
    let delay = Duration { seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), nanos: wait.subsec_nanos().cast_signed() };
    Any { type_url: RetryInfo::TYPE.to_owned(), value: RetryInfo { retry_delay: Some(delay) }.encode_to_vec().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_carried_out_says_when_to_send_it_again() {
        let status = of_call(&Error::exhausted("slow down", time::Duration::from_millis(2500)));
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "slow down"));
        let whole = RpcStatus::decode(status.details()).unwrap();
        assert_eq!((whole.code, whole.message.as_str(), whole.details.len()), (8, "slow down", 1));
        assert_eq!(whole.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let delay = RetryInfo::decode(whole.details[0].value.clone()).unwrap().retry_delay.unwrap();
        assert_eq!((delay.seconds, delay.nanos), (2, 500_000_000));

        assert_eq!(of_row(&Error::not_mine("moved")).details.len(), 1);
        assert!(of_row(&Error::unavailable("it is not known whether the row was written")).details.is_empty());
        assert!(of_row(&Error::not_found("x")).details.is_empty());
    }
}
