//! All roles in this process, on real storage: what the runner keeps must equal the same SQL run at once.

mod environments;
mod equals;
mod keys;
mod life;
mod seeds;
mod unique;
mod world;
