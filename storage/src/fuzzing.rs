//! Entries for fuzz targets: any bytes must give an error or a value, not a panic, a hang or a large allocation.
//! The first bytes of some say which decoder is asked.

use bytes::Bytes;

/// A log segment.
pub fn log(bytes: &[u8]) {
    let _ = crate::inspect::LogSegment::read(bytes);
}

/// A manifest, with and without its register.
pub fn manifest(bytes: &[u8]) {
    let _ = crate::inspect::manifest(bytes);
    let _ = crate::format::Manifest::decode(bytes);
}

/// An SSTable: everything in it is read, and compared with what it says of itself.
pub fn sstable(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let _ = runtime.map(|runtime| runtime.block_on(crate::inspect::Sstable::read(Bytes::copy_from_slice(bytes))));
}

/// The encodings of pages: which one u8, number of values u16.
pub fn encoding(bytes: &[u8]) {
    if let Some((&[which, low, high], rest)) = bytes.split_first_chunk() {
        crate::sstable::fuzz_encoding(which, u16::from_le_bytes([low, high]).into(), &Bytes::copy_from_slice(rest));
    }
}
