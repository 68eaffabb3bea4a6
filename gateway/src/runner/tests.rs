//! All roles in this process, on real storage: what the runner keeps must equal the same SQL run at once.

mod append;
mod environments;
mod equals;
mod grammar;
mod itself;
mod keys;
mod life;
mod meaning;
mod seeds;
mod unique;
mod world;
