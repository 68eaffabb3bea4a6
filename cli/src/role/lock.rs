use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

const LOCK_FILE: &str = "stele.lock";

/// The exclusive right to a data folder; the operating system ends it with the process.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes `dir` if absent and locks it.
    pub fn take(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder '{}'", dir.display()))?;
        let path = dir.join(LOCK_FILE);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open '{}'", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("the folder '{}' is in use by {}: end it, or take another folder with --dir", dir.display(), holder(&path))
            }
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("cannot lock '{}'", path.display())),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

fn holder(path: &Path) -> String {
    match fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("another stele (process {pid})"),
        None => "another stele".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let held = FolderLock::take(dir.path()).unwrap();
        let refused = FolderLock::take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&dir.path().display().to_string()) && refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        FolderLock::take(dir.path()).unwrap();
    }
}
