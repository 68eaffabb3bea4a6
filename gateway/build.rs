//! Generates the client and the server of the Bigtable API's part that is here; needs no protoc.

use tonic_build::manual::{Builder, Method, MethodBuilder, Service};

fn method(name: &str, route: &str) -> MethodBuilder {
    let message = |kind: &str| format!("crate::bigtable::messages::{route}{kind}");
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type(message("Request"))
        .output_type(message("Response"))
        .codec_path("::tonic_prost::ProstCodec")
}

fn main() {
    let bigtable = Service::builder()
        .name("Bigtable")
        .package("google.bigtable.v2")
        .method(method("mutate_row", "MutateRow").build())
        .method(method("mutate_rows", "MutateRows").server_streaming().build())
        .build();
    Builder::new().compile(&[bigtable]);
}
