//! The plain twin of the fuzz targets: real files with a few bytes changed. What they then say is an error or a value.

use crate::fuzzing;
use proptest::prelude::*;

const LOG: &[u8] = include_bytes!("../../testdata/log-segment-v2");
const SSTABLE: &[u8] = include_bytes!("../../testdata/sstable-v3");
const MANIFEST: &[u8] = include_bytes!("../../testdata/manifest-v4");

/// Bytes set, cut out and put in, each at a place of a file.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..6)
}

fn changed(file: &[u8], changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for (at, kind, byte) in changes.iter().filter(|_| !file.is_empty()) {
        let at = at.index(bytes.len().max(1)).min(bytes.len());
        match kind % 4 {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, *byte),
            _ => bytes[at.min(file.len() - 1)..].iter_mut().take(1).for_each(|b| *b = *byte),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_files_are_an_error_or_a_value(changes in changes()) {
        fuzzing::log(&changed(LOG, &changes));
        fuzzing::manifest(&changed(MANIFEST, &changes));
        fuzzing::sstable(&changed(SSTABLE, &changes));
    }

    #[test]
    fn any_bytes_as_an_encoding_are_an_error_or_a_value(bytes in prop::collection::vec(any::<u8>(), 3..60), tag in 0u8..7) {
        fuzzing::encoding(&bytes);
        let mut tagged = bytes;
        tagged.insert(3, tag);
        fuzzing::encoding(&tagged);
    }
}
