//! Writes what an engine stores of a few tables to `corpus/{sstable,manifest,log}`: files that a fuzzer can begin with, with
//! the checksums that its build takes for right.

use common::ids::{Epoch, FamilyId, Incarnation, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::row::{Mutation, RowMutation};
use common::schema::{Table, TableKind, TableSpec};
use common::store::DurableLocal;
use common::time::{Micros, SystemClock, TimeRange};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{Engine, EngineConfig, Tablet, TabletOpen};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let corpus = PathBuf::from(std::env::args().nth(1).ok_or("usage: seeds CORPUS_FOLDER")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (name, spec) in specs() {
        let dir = tempfile::tempdir()?;
        runtime.block_on(fill(dir.path(), serde_json::from_value(spec)?))?;
        for path in files(dir.path())? {
            keep(&corpus, name, &path)?;
        }
    }
    Ok(())
}

/// One table of declared columns, one of any, one whose rows have many.
fn specs() -> [(&'static str, serde_json::Value); 3] {
    let column = |name: &str, ty: &str| serde_json::json!({"name": name, "type": ty, "family": "f"});
    let types = ["int64", "float64", "string", "bool", "timestamp", "bytes", "json"];
    let columns: Vec<_> = types.iter().map(|ty| column(&format!("a_{ty}"), ty)).collect();
    [
        ("declared", serde_json::json!({"name": "fuzz.declared", "undeclared": "none", "families": {"f": {}}, "columns": columns})),
        ("any", serde_json::json!({"name": "fuzz.any", "families": {"f": {}}})),
        ("versions", serde_json::json!({"name": "fuzz.versions", "families": {"f": {"gc": {"max_versions": 2}}}})),
    ]
}

async fn fill(dir: &Path, spec: TableSpec) -> Result<()> {
    let store = Arc::new(DurableLocal::open(&dir.join("store"))?);
    let config = EngineConfig::new(ServerId(1), Incarnation(1), store, dir.join("log"), SystemClock::shared());
    let table = Arc::new(Table::create(TableId(1), TableKind::Raw, spec)?);
    let family = table.family("f").ok_or("no family f")?.id;
    let engine = Engine::open(config).await?;
    let open = TabletOpen { tablet: TabletId(1), range: KeyRange::ALL, epoch: Epoch(1), table, pin: None, log_fence: None };
    let tablet = engine.open_tablet(open).await?;
    write(&tablet, family, 0).await?;
    tablet.flush().await?;
    write(&tablet, family, 20).await?;
    tablet.delete_range(KeyRange::new("row03", Some("row05".into())), None).await?;
    tablet.flush().await?;
    write(&tablet, family, 40).await?;
    engine.shutdown().await?;
    Ok(())
}

async fn write(tablet: &Tablet, family: FamilyId, from: usize) -> Result<()> {
    let set = |row: usize, c: usize| Mutation::Set {
        family,
        qualifier: if c < 7 { [&[0, 0, 0, 0], &[c as u8 + 1][..]].concat().into() } else { format!("\u{1}more{c}").into() },
        timestamp: (row % 3 == 0).then_some(Micros(1_000 * c as i64)),
        value: match c {
            0 | 1 | 4 => (row as u64 * 31).to_be_bytes().to_vec().into(),
            3 => vec![(row % 2) as u8].into(),
            8 => vec![row as u8; 300].into(),
            _ => format!("value {}", row % 5).into(),
        },
    };
    let mut rows = Vec::new();
    for i in from..from + 40 {
        let mut mutations: Vec<_> = (0..7 + i % 4).map(|c| set(i, c)).collect();
        if i % 9 == 0 {
            let timestamps = TimeRange { start: Micros(0), end: Micros(50) };
            mutations.insert(0, Mutation::DeleteColumn { family, qualifier: "\u{1}more8".into(), timestamps });
        }
        if i % 13 == 0 {
            mutations.insert(0, Mutation::DeleteRow);
        }
        rows.push(RowMutation { key: format!("row{i:02}").into(), mutations });
    }
    let many = (0..1_500).map(|c| Mutation::Set { family, qualifier: format!("\u{1}{c:05}").into(), timestamp: None, value: "x".into() });
    rows.push(RowMutation { key: "row99".into(), mutations: many.collect() });
    for refused in tablet.write(rows, None).await?.into_iter().filter_map(std::result::Result::err) {
        // A table of declared columns only takes no others.
        if !refused.message.contains("column") {
            return Err(refused.into());
        }
    }
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { found.append(&mut files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Copies a stored file to the corpus of the target that decodes it.
fn keep(corpus: &Path, name: &str, path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    let kind = if text.contains("/manifest/") {
        "manifest"
    } else if text.contains("/log/") {
        "log"
    } else {
        "sstable"
    };
    let folder = corpus.join(kind);
    std::fs::create_dir_all(&folder)?;
    let count = std::fs::read_dir(&folder)?.count();
    std::fs::copy(path, folder.join(format!("{name}-{count:03}")))?;
    Ok(())
}
