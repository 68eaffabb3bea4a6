//! A whole tablet server in this process: real engine, real RPC, a master that says what the test says.

mod derived;
mod harness;
mod life;
mod raw;
