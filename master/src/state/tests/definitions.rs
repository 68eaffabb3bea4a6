use super::*;

fn derived(c: &Cluster, name: &str) -> super::super::Derived {
    c.state.derived[&c.id(name)].clone()
}

#[test]
fn definitions_are_applied_all_or_none() {
    let mut c = Cluster::default();
    c.raw("raw.a");
    assert_eq!(kind(c.define(vec![put("core.b", "f1", &["raw.a"]), put("core.c", "f1", &["raw.gone"])])), ErrorKind::InvalidArgument);
    assert!(c.state.definitions.is_empty());
    assert_eq!(kind(c.define(vec![put("raw.a", "f1", &[])])), ErrorKind::AlreadyExists);
    assert_eq!(kind(c.define(vec![put("core.b", "f1", &["raw.a"]), put("core.b", "f2", &["raw.a"])])), ErrorKind::InvalidArgument);
}

#[test]
fn definitions_come_with_the_raw_tables_that_they_read_or_not_at_all() {
    let mut c = Cluster::default();
    let apply = |create: &[&str], inputs: &[&str]| Command::ApplyDefinitions {
        create: create.iter().map(|name| spec(name)).collect(),
        put: vec![put("core.b", "f1", inputs)],
        remove: Vec::new(),
        base: None,
    };
    assert_eq!(kind(c.command(apply(&["raw.a"], &["raw.gone"]))), ErrorKind::InvalidArgument);
    assert!(c.state.table_named("raw.a").is_none(), "all or none");
    c.command(apply(&["raw.a"], &["raw.a"])).unwrap();
    let id = c.id("raw.a");
    c.command(apply(&["raw.a"], &["raw.a"])).unwrap();
    assert_eq!(c.id("raw.a"), id, "what is there stays");
}

#[test]
fn a_circle_is_refused_by_name() {
    let mut c = chain();
    let e = c.define(vec![put("core.b", "f2", &["core.c"])]).unwrap_err();
    assert_eq!(e.kind, ErrorKind::InvalidArgument);
    assert!(e.message.contains("core.b → core.c → core.b"), "{e}");
    c.define(vec![put("core.b", "f2", &["core.b", "raw.a"])]).expect("a table may read its own earlier windows");
}

#[test]
fn what_a_definition_reads_stays() {
    let mut c = chain();
    assert_eq!(kind(c.command(Command::DropTable { name: "raw.a".into() })), ErrorKind::FailedPrecondition);
    let remove = |names: &[&str]| Command::ApplyDefinitions {
        create: Vec::new(),
        put: Vec::new(),
        remove: names.iter().map(ToString::to_string).collect(),
        base: None,
    };
    assert_eq!(kind(c.command(remove(&["core.b"]))), ErrorKind::FailedPrecondition);
    assert_eq!(kind(c.command(Command::DropTable { name: "core.b".into() })), ErrorKind::FailedPrecondition);
    c.command(remove(&["core.b", "core.c"])).unwrap();
    c.command(Command::DropTable { name: "raw.a".into() }).unwrap();
    c.command(Command::DropEnvironment { environment: "undo2".into() }).unwrap();
    assert!(c.state.tables.is_empty() && c.state.tablets.is_empty());
}

#[test]
fn the_same_definition_again_changes_nothing() {
    let mut c = chain();
    let before = c.state.clone();
    c.define(vec![put("core.b", "f1", &["raw.a"])]).unwrap();
    assert_eq!(c.state, before);
}

#[test]
fn a_changed_fingerprint_makes_all_published_windows_due_and_keeps_the_table() {
    let mut c = chain();
    let (id, old) = (c.id("core.b"), derived(&c, "core.b"));
    let (claim, run, _) = c.claim(id, windows(&[(10, 20)])).unwrap();
    c.define(vec![put("core.b", "f2", &["raw.a"])]).unwrap();
    let new = derived(&c, "core.b");
    assert_eq!(c.id("core.b"), id);
    assert_eq!((new.forced, new.windows, new.version, new.inputs), (windows(&[(0, 10)]), old.windows, old.version, old.inputs));
    assert_eq!(new.aborted[0].run, run, "runs of the old definition end");
    assert_eq!(kind(c.publish(publish(claim, &[(10, 20)]))), ErrorKind::FailedPrecondition);
    assert!(derived(&c, "core.c").forced.is_empty());
}

#[test]
fn a_changed_spec_makes_the_table_anew_and_its_readers_due() {
    let mut c = chain();
    let (old, reader) = (c.id("core.b"), c.id("core.c"));
    let spec = TableSpec { append_only: true, ..spec("core.b") };
    c.define(vec![PutDefinition { spec, ..put("core.b", "f2", &["raw.a"]) }]).unwrap();
    let new = c.id("core.b");
    assert!(new > old && c.id("core__undo2.b") == old);
    assert_eq!(derived(&c, "core.b").version, Seq::ZERO);
    let reader = &c.state.derived[&reader];
    assert_eq!(reader.forced, windows(&[(0, 10)]));
    assert_eq!(reader.inputs.iter().map(|f| f.input).collect::<Vec<_>>(), [new]);
}

#[test]
fn a_description_does_not_rebuild() {
    let mut c = chain();
    let id = c.id("core.b");
    let spec = TableSpec { description: Some("words".into()), ..spec("core.b") };
    c.define(vec![PutDefinition { spec, ..put("core.b", "f1", &["raw.a"]) }]).unwrap();
    assert_eq!(c.id("core.b"), id);
    assert_eq!(c.state.tables[&id].spec.description.as_deref(), Some("words"));
    assert!(derived(&c, "core.b").forced.is_empty());
}

#[test]
fn forced_windows_are_marked_and_a_paused_table_is_not_claimed() {
    let mut c = chain();
    c.command(Command::MarkDirty { name: "core.b".into(), windows: windows(&[(2, 3)]) }).unwrap();
    assert_eq!(derived(&c, "core.b").forced, windows(&[(2, 3)]));
    c.command(Command::PauseDerived { name: "core.b".into(), paused: true }).unwrap();
    assert_eq!(kind(c.claim(c.id("core.b"), windows(&[(2, 3)]))), ErrorKind::FailedPrecondition);
    c.command(Command::PauseDerived { name: "core.b".into(), paused: false }).unwrap();
    c.claim(c.id("core.b"), windows(&[(2, 3)])).unwrap();
    assert_eq!(kind(c.command(Command::MarkDirty { name: "raw.a".into(), windows: RangeSet::all() })), ErrorKind::NotFound);
}
