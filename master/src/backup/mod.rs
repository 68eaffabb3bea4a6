//! Backups of tables: copies of a snapshot's objects in a folder of their own, from which any cluster can make the table.
//!
//! ```text
//! backup.json                             put last: without it there is no backup
//! {cluster}-{procedure}/manifest/{tablet} a tablet's manifest at one seq
//! {cluster}-{procedure}/sst/{name}        an SSTable
//! ```
//!
//! `backup.json` is two lines: what it is, with the CRC-32C of the second line; and the [`Backup`]. It names every object
//! with size and CRC-32C, which are verified when it is restored. Objects have the procedure in their names, so that what an
//! interrupted backup has left behind is never taken for a part of another one.

mod transfer;

pub use transfer::{Target, copy, copy_renamed, delete_all, read_exactly};

use bytes::Bytes;
use common::ids::{ProcedureId, Seq, TabletId};
use common::key::KeyRange;
use common::objects::SstableName;
use common::rpc::master::{BackupContents, BackupPart};
use common::schema::Table;
use common::store::{SharedStore, failed, get_opt};
use common::time::Micros;
use common::{Error, Result, store};
use object_store::path::Path;
use object_store::{PutMode, PutOptions};
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;
const DOCUMENT: &str = "backup.json";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// The cluster and the procedure that made it: the folder of its objects.
    pub backup: String,
    /// All that was acknowledged before is in it.
    pub begun_at: Micros,
    /// Nothing written after is in it.
    pub taken_at: Micros,
    /// The table.
    pub table: Table,
    /// Its watermark.
    pub watermark: Option<Micros>,
    /// In key order; they cover all keys.
    pub parts: Vec<Part>,
    /// Every SSTable that the parts' manifests name, once.
    pub sstables: Vec<Sstable>,
}

/// A tablet at one seq.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The tablet that it was.
    pub tablet: TabletId,
    /// The rows that count.
    pub range: KeyRange,
    /// The newest row mutation in it.
    pub seq: Seq,
    /// Its manifest.
    pub manifest: Stored,
}

/// A copied SSTable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sstable {
    /// As manifests name it.
    pub name: SstableName,
    /// Its copy.
    pub object: Stored,
}

/// An object of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Within the backup's folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of all of them.
    pub crc32c: u32,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    stele_backup: u32,
    crc32c: u32,
}

/// The name of a procedure's backup, and the folder of its objects.
#[must_use]
pub fn name_of(cluster: &str, procedure: ProcedureId) -> String {
    format!("{cluster}-{procedure}")
}

impl Backup {
    /// Where the manifest of a tablet lies.
    #[must_use]
    pub fn manifest_path(backup: &str, tablet: TabletId) -> String {
        format!("{backup}/manifest/{tablet}")
    }

    /// Where the copy of an SSTable lies.
    #[must_use]
    pub fn sstable_path(backup: &str, name: &SstableName) -> String {
        format!("{backup}/sst/{}-{}-{}", name.home, name.epoch, name.number)
    }

    /// What the state machine must know of it.
    #[must_use]
    pub fn contents(&self) -> BackupContents {
        let parts = self.parts.iter().map(|p| BackupPart { tablet: p.tablet, range: p.range.clone(), seq: p.seq });
        let (backup, table, watermark) = (self.backup.clone(), self.table.clone(), self.watermark);
        BackupContents { backup, table, watermark, parts: parts.collect() }
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let wrong = |e: serde_json::Error| Error::internal(format!("the backup's document does not encode: {e}"));
        let document = serde_json::to_vec(self).map_err(wrong)?;
        let mut out = serde_json::to_vec(&Head { stele_backup: FORMAT, crc32c: crc32c::crc32c(&document) }).map_err(wrong)?;
        out.push(b'\n');
        out.extend(document);
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let at = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| Error::corrupt("it has no second line"))?;
        let (head, document) = (&bytes[..at], &bytes[at + 1..]);
        let head: Head = serde_json::from_slice(head).map_err(|e| Error::corrupt(format!("its first line does not decode: {e}")))?;
        if head.stele_backup != FORMAT {
            return Err(Error::corrupt(format!("backup format {}, this build reads {FORMAT}", head.stele_backup)));
        }
        if crc32c::crc32c(document) != head.crc32c {
            return Err(Error::corrupt("checksum mismatch"));
        }
        let backup: Self = serde_json::from_slice(document).map_err(|e| Error::corrupt(format!("it does not decode: {e}")))?;
        backup.check()?;
        Ok(backup)
    }

    /// Its parts cover all keys once.
    fn check(&self) -> Result<()> {
        let joined = self.parts.windows(2).all(|w| w[0].range.end.as_ref() == Some(&w[1].range.start));
        let begins = self.parts.first().is_some_and(|p| p.range.start.is_empty());
        let ends = self.parts.last().is_some_and(|p| p.range.end.is_none());
        if begins && joined && ends { Ok(()) } else { Err(Error::corrupt("its parts do not cover the table's keys once")) }
    }
}

/// The finished backup at a place.
///
/// # Errors
/// `NotFound` if there is none, `Corrupt` if its document is damaged, `InvalidArgument` for a URL of another kind, `Unavailable`.
pub async fn read(location: &str) -> Result<Backup> {
    let found = read_document(&open(location)?, location).await?;
    let none = || Error::not_found(format!("'{location}' holds no finished backup: it has no '{DOCUMENT}'"));
    Backup::decode(&found.ok_or_else(none)?).map_err(|e| e.context(format!("object '{DOCUMENT}' of the backup at '{location}'")))
}

/// Whether a backup can go to a place.
///
/// # Errors
/// `AlreadyExists` if one is there, `InvalidArgument` for a URL of another kind, `Unavailable`.
pub async fn check_free(location: &str) -> Result<()> {
    match read_document(&open(location)?, location).await? {
        None => Ok(()),
        Some(_) => Err(Error::already_exists(format!("'{location}' holds a backup already: name another folder"))),
    }
}

/// The store of a place.
///
/// # Errors
/// `InvalidArgument` for a URL of another kind, or a relative folder: masters run elsewhere; `Unavailable`.
pub fn open(location: &str) -> Result<SharedStore> {
    let path = location.strip_prefix("file://").unwrap_or(location);
    if !path.contains("://") && !path.starts_with('/') {
        return Err(Error::invalid(format!(
            "backup location '{location}': write s3://bucket/folder, gs://bucket/folder, az://container/folder or an absolute path as file:///folder"
        )));
    }
    store::open(location)
}

async fn read_document(place: &SharedStore, location: &str) -> Result<Option<Bytes>> {
    get_opt(place, &Path::from(DOCUMENT)).await.map_err(|e| e.context(format!("backup location '{location}'")))
}

/// Makes a backup whole: all that it names must be there.
///
/// # Errors
/// `AlreadyExists` if another backup has come to be there, `Unavailable`: it can be repeated.
pub async fn finish(place: &SharedStore, backup: &Backup) -> Result<()> {
    let path = Path::from(DOCUMENT);
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match place.put_opts(&path, backup.encode()?.into(), options).await {
        Ok(_) => Ok(()),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            let there = get_opt(place, &path).await?.map(|bytes| Backup::decode(&bytes)).transpose()?;
            // An attempt whose answer was lost, maybe an earlier leader's.
            if there.is_some_and(|there| there.backup == backup.backup) {
                return Ok(());
            }
            Err(Error::already_exists("another backup has come to be at that place: name another folder"))
        }
        Err(e) => Err(failed("create", &path, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ErrorKind;
    use common::ids::TableId;
    use common::schema::{TableKind, TableSpec};

    fn backup() -> Backup {
        let stored = |path: &str| Stored { path: path.into(), size: 3, crc32c: 7 };
        let part = |tablet, range| Part { tablet: TabletId(tablet), range, seq: Seq(9), manifest: stored("c-1/manifest/4") };
        let m = Bytes::from_static(b"m");
        Backup {
            backup: name_of("c", ProcedureId(1)),
            begun_at: Micros(1),
            taken_at: Micros(2),
            table: Table::create(TableId(3), TableKind::Raw, TableSpec::named("a.b")).unwrap(),
            watermark: Some(Micros(5)),
            parts: vec![part(4, KeyRange::new("", Some(m.clone()))), part(5, KeyRange::new(m, None))],
            sstables: Vec::new(),
        }
    }

    #[test]
    fn a_document_comes_back_and_every_changed_byte_is_noticed() {
        let bytes = backup().encode().unwrap();
        assert_eq!(Backup::decode(&bytes).unwrap(), backup());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            // A changed name of a field that is read, a digit, a letter: whatever it is, it is not taken for the same backup.
            assert!(Backup::decode(&damaged).is_err(), "byte {at}");
        }
        let holed = Backup { parts: backup().parts[..1].to_vec(), ..backup() };
        assert_eq!(Backup::decode(&holed.encode().unwrap()).unwrap_err().kind, ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_place_has_one_backup() {
        let dir = tempfile::tempdir().unwrap();
        let location = format!("file://{}", dir.path().display());
        assert_eq!(read(&location).await.unwrap_err().kind, ErrorKind::NotFound);
        check_free(&location).await.unwrap();
        let place = open(&location).unwrap();
        finish(&place, &backup()).await.unwrap();
        finish(&place, &backup()).await.unwrap();
        assert_eq!(read(&location).await.unwrap(), backup());
        assert_eq!(check_free(&location).await.unwrap_err().kind, ErrorKind::AlreadyExists);
        let other = Backup { backup: "d-1".into(), ..backup() };
        assert_eq!(finish(&place, &other).await.unwrap_err().kind, ErrorKind::AlreadyExists);
        assert_eq!(check_free("backups/today").await.unwrap_err().kind, ErrorKind::InvalidArgument);
    }
}
