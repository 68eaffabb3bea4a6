//! Generates the gRPC clients and servers of the roles' RPC; needs no protoc.

use tonic_build::manual::{Builder, Method, Service};

const CODEC: &str = "::tonic_prost::ProstCodec";

/// One method: its name, route, request and response type, and which sides stream.
struct Rpc(&'static str, &'static str, &'static str, &'static str, Streams);

#[derive(Clone, Copy, PartialEq)]
enum Streams {
    Neither,
    Server,
    Both,
}

fn service(name: &str, rpcs: &[Rpc]) -> Service {
    let methods = rpcs.iter().map(|Rpc(name, route, input, output, streams)| {
        let mut method = Method::builder()
            .name(*name)
            .route_name(*route)
            .input_type(format!("crate::rpc::{input}"))
            .output_type(format!("crate::rpc::{output}"))
            .codec_path(CODEC);
        if *streams != Streams::Neither {
            method = method.server_streaming();
        }
        if *streams == Streams::Both {
            method = method.client_streaming();
        }
        method.build()
    });
    methods.fold(Service::builder().name(name).package("stele.v1"), |s, m| s.method(m)).build()
}

fn main() {
    use Streams::{Both, Neither, Server};
    let master = service(
        "Master",
        &[
            Rpc("submit", "Submit", "Json", "Json", Neither),
            Rpc("heartbeat", "Heartbeat", "Json", "Json", Both),
            Rpc("watch", "Watch", "Json", "Json", Server),
        ],
    );
    let raft = service(
        "Raft",
        &[
            Rpc("append", "Append", "Frame", "Frame", Neither),
            Rpc("vote", "Vote", "Frame", "Frame", Neither),
            Rpc("snapshot", "Snapshot", "Frame", "Frame", Neither),
        ],
    );
    let tablets = service(
        "Tablets",
        &[
            Rpc("write", "Write", "tablet::WriteRequest", "tablet::WriteResponse", Neither),
            Rpc("delete_range", "DeleteRange", "tablet::DeleteRangeRequest", "tablet::DeleteRangeResponse", Neither),
            Rpc("conditional", "Conditional", "tablet::ConditionalRequest", "tablet::ConditionalResponse", Neither),
            Rpc("read", "Read", "tablet::ReadRequest", "tablet::ReadResponse", Server),
            Rpc("scan", "Scan", "tablet::ScanRequest", "tablet::ArrowChunk", Server),
            Rpc("changes", "Changes", "tablet::ChangesRequest", "tablet::ArrowChunk", Server),
            Rpc("stage", "Stage", "tablet::StageRequest", "tablet::Done", Neither),
            Rpc("apply", "Apply", "tablet::ApplyRequest", "tablet::Done", Neither),
            Rpc("drop_staged", "DropStaged", "tablet::DropStagedRequest", "tablet::Done", Neither),
            Rpc("status", "Status", "tablet::StatusRequest", "tablet::StatusResponse", Neither),
        ],
    );
    Builder::new().compile(&[master, raft, tablets]);
}
