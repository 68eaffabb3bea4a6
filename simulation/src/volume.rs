//! A master's disk, in memory: it outlives the process, and loses with it what was not synced.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The disk. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Volume(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: StdRng,
    /// What is there after a crash, whatever else is lost.
    synced: Vec<u8>,
    /// What the process sees.
    now: Vec<u8>,
    unsynced: Vec<Change>,
    /// Counts processes: an earlier one can do nothing more.
    life: u64,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

/// The disk in the hands of one process.
#[derive(Debug)]
pub struct Opened {
    volume: Volume,
    life: u64,
}

impl Volume {
    /// An empty disk; `seed` decides what a crash leaves.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(State { random, synced: Vec::new(), now: Vec::new(), unsynced: Vec::new(), life: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it to a new process.
    #[must_use]
    pub fn open(&self) -> Opened {
        let mut state = self.lock();
        state.life += 1;
        Opened { volume: self.clone(), life: state.life }
    }

    /// The process ends at once: of what it has not synced any part may be there.
    pub fn crash(&self) {
        let state = &mut *self.lock();
        state.life += 1;
        for change in std::mem::take(&mut state.unsynced) {
            if state.random.random_bool(0.5) {
                change.apply(&mut state.synced);
            }
        }
        state.now.clone_from(&state.synced);
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Bytes(at, bytes) => {
                // The change of length before it may be lost.
                let end = at + bytes.len();
                to.resize(to.len().max(end), 0);
                to[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Opened {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.volume.lock();
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("the process has ended")) }
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let state = &mut *self.state()?;
        change.apply(&mut state.now);
        state.unsynced.push(change);
        Ok(())
    }
}

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state()?;
        let from = offset as usize;
        let there = state.now.get(from..from + out.len()).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(there);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = &mut *self.state()?;
        for change in std::mem::take(&mut state.unsynced) {
            change.apply(&mut state.synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Bytes(offset as usize, data.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_ends_the_process() {
        let volume = Volume::new(1);
        let first = volume.open();
        first.set_len(4).unwrap();
        first.write(0, b"abcd").unwrap();
        first.sync_data().unwrap();
        first.write(0, b"x").unwrap();
        volume.crash();
        assert!(first.write(0, b"y").is_err() && first.sync_data().is_err());
        let (second, mut read) = (volume.open(), [0; 3]);
        second.read(1, &mut read).unwrap();
        assert_eq!(&read, b"bcd");
    }

    #[test]
    fn of_what_was_not_synced_any_part_may_be_there() {
        let outcomes: std::collections::BTreeSet<Vec<u8>> = (0..64)
            .map(|seed| {
                let volume = Volume::new(seed);
                let file = volume.open();
                file.set_len(2).unwrap();
                file.sync_data().unwrap();
                file.write(0, b"a").unwrap();
                file.write(1, b"b").unwrap();
                volume.crash();
                let mut read = vec![0; 2];
                volume.open().read(0, &mut read).unwrap();
                read
            })
            .collect();
        assert_eq!(outcomes.len(), 4);
    }
}
