//! Roles on an object store that would let two owners win: none of them starts.

#![allow(clippy::unwrap_used, reason = "a test panics where something fails")]

mod support;

use support::{Bucket, CarelessS3, Finished, stele};

#[test]
fn roles_refuse_a_store_that_ignores_create_if_absent() {
    let store = CarelessS3::start();
    let bucket = Bucket::s3(&store.endpoint(), "careless");
    let dir = tempfile::tempdir().unwrap();
    for role in [["master"].as_slice(), &["tabletserver", "--masters", "127.0.0.1:1"]] {
        let mut command = stele();
        command.args(role).args(["--listen", "127.0.0.1:0", "--store", &bucket.url, "--data-dir"]).arg(dir.path().join(role[0]));
        let refused = Finished::of(command.envs(bucket.env.clone()));
        refused.fails_with(&["does not start", "create-if-absent", "created twice", "use a store that keeps the condition"]);
    }
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = stele();
    let bucket = Bucket::s3("http://127.0.0.1:1", "nobody-there");
    command.args(["master", "--listen", "127.0.0.1:0", "--store", &bucket.url, "--data-dir"]).arg(dir.path());
    Finished::of(command.envs(bucket.env)).fails_with(&["does not start", "127.0.0.1:1", "nobody-there"]);
}
