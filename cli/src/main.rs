//! stele
fn main() {}
