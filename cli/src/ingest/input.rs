use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
const BUFFER_BYTES: usize = 256 << 10;

/// A file or stdin, unpacked if it is gzip.
pub struct Input {
    /// For messages.
    pub name: String,
    /// Stored bytes, if known.
    pub size: Option<u64>,
    reader: Box<dyn BufRead + Send>,
    read: Arc<AtomicU64>,
}

impl Input {
    /// Opens `path`; `-` is stdin.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Self::new("stdin".into(), None, Box::new(io::stdin()));
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open '{name}'"))?;
        let meta = file.metadata().with_context(|| format!("cannot open '{name}'"))?;
        anyhow::ensure!(!meta.is_dir(), "'{name}' is a folder: give its files");
        // Of a pipe the size is not known.
        let size = meta.is_file().then_some(meta.len());
        Self::new(name, size, Box::new(file))
    }

    fn new(name: String, size: Option<u64>, source: Box<dyn Read + Send>) -> Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let mut stored = BufReader::with_capacity(BUFFER_BYTES, Counted { source, read: read.clone() });
        let packed = stored.fill_buf().with_context(|| format!("cannot read '{name}'"))?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn BufRead + Send> =
            if packed { Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(stored))) } else { Box::new(stored) };
        Ok(Self { name, size, reader, read })
    }

    /// The unpacked bytes.
    pub fn reader(&mut self) -> &mut (dyn BufRead + Send) {
        &mut *self.reader
    }

    /// Stored bytes read so far, with what is buffered.
    pub fn position(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Splits into the unpacked bytes, the count of stored bytes read, and the name.
    pub fn into_parts(self) -> (Box<dyn BufRead + Send>, Arc<AtomicU64>, String) {
        (self.reader, self.read, self.name)
    }
}

struct Counted {
    source: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
