use super::*;
use serde_json::json;

fn create(c: &mut Cluster, spec: serde_json::Value) -> Result<Reply> {
    c.command(Command::CreateTable { spec: serde_json::from_value(spec).unwrap() })
}

#[test]
fn the_same_spec_again_gives_the_same_table() {
    let mut c = Cluster::default();
    let first = c.command(Command::CreateTable { spec: spec("raw.a") }).unwrap();
    assert_eq!(c.command(Command::CreateTable { spec: spec("raw.a") }).unwrap(), first);
    let other = TableSpec { append_only: true, ..spec("raw.a") };
    assert_eq!(kind(c.command(Command::CreateTable { spec: other })), ErrorKind::AlreadyExists);
}

#[test]
fn names_in_the_system_dataset_are_refused_and_its_tables_stay() {
    let mut c = Cluster::default();
    assert_eq!(kind(c.command(Command::CreateTable { spec: spec("system.mine") })), ErrorKind::InvalidArgument);
    c.change(Change::CreateSystemTables);
    let version = c.state.version;
    c.change(Change::CreateSystemTables);
    assert_eq!(c.state.version, version, "nothing changed");
    assert_eq!(kind(c.command(Command::DropTable { name: "system.runs".into() })), ErrorKind::InvalidArgument);
}

#[test]
fn ids_are_never_reused() {
    let mut c = Cluster::default();
    let first = c.raw("raw.a");
    let tablets: Vec<_> = c.state.tablets.keys().copied().collect();
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    assert_eq!(kind(c.command(Command::DropTable { name: "raw.a".into() })), ErrorKind::NotFound);
    assert!(c.raw("raw.a") > first);
    assert!(c.state.tablets.keys().all(|id| !tablets.contains(id)));
}

#[test]
fn a_new_table_is_cut_at_its_split_points() {
    let mut c = Cluster::default();
    let splits = json!([["m"], ["f"], ["m", "2026-01-01"]]);
    create(&mut c, json!({"name": "raw.a", "key": [{"user": "string"}, {"at": "timestamp desc"}], "split_at": splits})).unwrap();
    assert_eq!(c.state.tablets.len(), 4);
    let table = c.state.table_named("raw.a").unwrap();
    let start = table.key_schema().encode_prefix(&[Some(common::value::Value::String("f".into()))]).unwrap();
    assert!(c.state.tablets.values().any(|t| t.range.start == start));
    create(&mut c, json!({"name": "raw.bytes", "key": [{"k": "bytes"}], "split_at": [["AP8="]]})).unwrap();
    create(&mut c, json!({"name": "raw.plain", "split_at": [["m"]]})).unwrap();
}

#[test]
fn bad_split_points_are_refused() {
    let mut c = Cluster::default();
    let key = json!([{"user": "string"}, {"at": "timestamp"}]);
    for bad in [json!([[1]]), json!([["a", "noon"]]), json!([[]]), json!([["a"], ["a"]]), json!([["a", "2026-01-01", 3]]), json!([[null]])]
    {
        let e = create(&mut c, json!({"name": "raw.a", "key": key, "split_at": bad})).unwrap_err();
        assert_eq!(e.kind, ErrorKind::InvalidArgument, "{bad}: {e}");
        assert!(e.message.contains("raw.a") && e.message.contains("split_at"), "{e}");
    }
}

#[test]
fn a_watermark_never_goes_back() {
    let mut c = Cluster::default();
    let id = c.raw("raw.a");
    for at in [5, 9, 7] {
        c.command(Command::SetWatermark { name: "raw.a".into(), at: Micros(at) }).unwrap();
    }
    assert_eq!(c.state.watermarks[&id], Micros(9));
    assert_eq!(kind(c.command(Command::SetWatermark { name: "raw.b".into(), at: Micros(1) })), ErrorKind::NotFound);
}
