//! All roles in this process, on real storage: what the runner keeps must equal the same SQL run at once.

mod equals;
mod life;
mod world;
