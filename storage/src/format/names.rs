//! Names of objects and log files.

use super::manifest::LogName;
use common::ids::{Epoch, TabletId};
use common::objects::SstableName;
use object_store::path::Path;
use std::path::PathBuf;

/// The folder of all tablets.
#[must_use]
pub fn tablets_prefix() -> Path {
    Path::from("tablets")
}

/// Prefix of a tablet's manifest register.
#[must_use]
pub fn manifest_prefix(tablet: TabletId) -> Path {
    Path::from(format!("tablets/{tablet}/manifest"))
}

/// The object of an SSTable: home tablet, epoch and number.
#[must_use]
pub fn sstable(name: &SstableName) -> Path {
    Path::from(format!("tablets/{}/sst/{:010}-{:020}", name.home, name.epoch.0, name.number))
}

/// The folder of a tablet's own SSTables.
#[must_use]
pub fn sstables_prefix(home: TabletId) -> Path {
    Path::from(format!("tablets/{home}/sst"))
}

/// The SSTable that a file in that folder is; `None`: none.
#[must_use]
pub fn parse_sstable(home: TabletId, file: &str) -> Option<SstableName> {
    let (epoch, number) = file.split_once('-')?;
    Some(SstableName { home, epoch: Epoch(epoch.parse().ok()?), number: number.parse().ok()? })
}

/// The manifest of a tablet in a named snapshot.
#[must_use]
pub fn snapshot(name: &str, tablet: TabletId) -> Path {
    Path::from(format!("snapshots/{name}/{tablet}"))
}

/// The manifests of all tablets in a named snapshot.
#[must_use]
pub fn snapshots_prefix(name: &str) -> Path {
    Path::from(format!("snapshots/{name}"))
}

/// The objects of one incarnation's log; the same names as files of a log folder.
#[must_use]
pub fn log_prefix(log: LogName) -> Path {
    Path::from(format!("log/{}/{}", log.server, log.incarnation))
}

/// The objects of all logs of a server.
#[must_use]
pub fn server_log_prefix(server: common::ids::ServerId) -> Path {
    Path::from(format!("log/{server}"))
}

/// A log object.
#[must_use]
pub fn log_object(log: LogName, number: u64) -> Path {
    log_prefix(log).join(segment(number))
}

/// The folder of one incarnation's log under the log folder.
#[must_use]
pub fn log_folder(log_dir: &std::path::Path, log: LogName) -> PathBuf {
    server_folder(log_dir, log).join(log.incarnation.to_string())
}

/// The folder of all logs of a server.
#[must_use]
pub fn server_folder(log_dir: &std::path::Path, log: LogName) -> PathBuf {
    log_dir.join("log").join(log.server.to_string())
}

/// The file name of a log segment.
#[must_use]
pub fn segment(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{Incarnation, ServerId};

    #[test]
    fn names_carry_home_epoch_and_number() {
        let name = SstableName { home: TabletId(7), epoch: Epoch(3), number: 12 };
        assert_eq!(sstable(&name).as_ref(), "tablets/7/sst/0000000003-00000000000000000012");
        assert_eq!(parse_sstable(TabletId(7), sstable(&name).filename().unwrap()), Some(name));
        assert_eq!(manifest_prefix(TabletId(7)).as_ref(), "tablets/7/manifest");
        let log = LogName { server: ServerId(2), incarnation: Incarnation(5) };
        let file = log_folder(std::path::Path::new("/d"), log).join(segment(1));
        assert_eq!(file, PathBuf::from("/d/log/2/5/00000000000000000001"));
        assert_eq!(log_object(log, 1).as_ref(), "log/2/5/00000000000000000001");
    }
}
