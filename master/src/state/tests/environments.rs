use super::*;

fn in_environment(environment: &str, name: &str, fingerprint: &str, inputs: &[&str]) -> PutDefinition {
    PutDefinition { environment: environment.into(), ..put(name, fingerprint, inputs) }
}

fn expected(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, fingerprint)| ((*name).to_owned(), (*fingerprint).to_owned())).collect()
}

fn promote(environment: &str, of: &[(&str, &str)]) -> Command {
    Command::Promote { environment: environment.into(), expected: expected(of) }
}

fn inputs(c: &Cluster, name: &str) -> Vec<TableId> {
    c.state.derived[&c.id(name)].inputs.iter().map(|f| f.input).collect()
}

/// The chain in production, and `core.b` in `dev` too.
fn with_dev() -> Cluster {
    let mut c = chain();
    c.define(vec![in_environment("dev", "core.b", "f2", &["raw.a"])]).unwrap();
    c
}

#[test]
fn an_environment_reads_its_own_tables_and_production_for_the_rest() {
    let mut c = with_dev();
    assert_ne!(c.id("core__dev.b"), c.id("core.b"));
    assert_eq!((inputs(&c, "core__dev.b"), inputs(&c, "core.c")), (vec![c.id("raw.a")], vec![c.id("core.b")]));
    c.define(vec![in_environment("dev", "core.c", "f1", &["core.b"])]).unwrap();
    assert_eq!(inputs(&c, "core__dev.c"), [c.id("core__dev.b")]);
    let remove = Command::ApplyDefinitions { create: Vec::new(), put: Vec::new(), remove: vec!["core__dev.b".into()], base: None };
    c.command(remove).unwrap();
    assert_eq!(inputs(&c, "core__dev.c"), [c.id("core.b")], "without one of its own it reads that of production");
    assert_eq!(kind(c.define(vec![put("core__dev.x", "f1", &["raw.a"])])), ErrorKind::InvalidArgument);
}

#[test]
fn promoting_swaps_names_and_keeps_what_was_there() {
    let mut c = with_dev();
    let (old, new, reader) = (c.id("core.b"), c.id("core__dev.b"), c.id("core.c"));
    assert_eq!(kind(c.command(promote("dev", &[("core__dev.b", "f1")]))), ErrorKind::FailedPrecondition, "another one was expected");
    assert_eq!(kind(c.command(promote("", &[]))), ErrorKind::InvalidArgument);
    assert_eq!(kind(c.command(promote("test", &[]))), ErrorKind::NotFound);
    c.command(Command::ProtectTable { name: "core.b".into(), protected: true }).unwrap();
    c.command(promote("dev", &[("core__dev.b", "f2")])).unwrap();
    assert_eq!((c.id("core.b"), c.id("core__undo3.b")), (new, old));
    assert!(c.state.protected.contains(&new) && !c.state.protected.contains(&old), "protection is of the name");
    assert_eq!(inputs(&c, "core.c"), [new]);
    assert_eq!(c.state.derived[&reader].forced, windows(&[(0, 10)]), "it read other rows");
    assert!(c.state.derived[&new].forced.is_empty());
    let claim = Command::Claim { table: old, fingerprint: "f1".into(), windows: windows(&[(0, 1)]), whole: false, runner: "r".into() };
    assert_eq!(kind(c.command(claim)), ErrorKind::NotFound, "what is retired rests");
}

#[test]
fn what_is_paused_stays_paused_when_another_takes_its_place() {
    let mut c = with_dev();
    c.command(Command::PauseDerived { name: "core.b".into(), paused: true }).unwrap();
    c.command(promote("dev", &[("core__dev.b", "f2")])).unwrap();
    assert!(c.state.definitions["core.b"].paused);
    assert!(!c.state.definitions["core.c"].paused);
}

#[test]
fn a_promotion_is_undone_by_promoting_what_it_retired() {
    let mut c = with_dev();
    let (old, new) = (c.id("core.b"), c.id("core__dev.b"));
    c.command(promote("dev", &[("core__dev.b", "f2")])).unwrap();
    c.command(promote("undo3", &[("core__undo3.b", "f1")])).unwrap();
    assert_eq!((c.id("core.b"), c.id("core__undo4.b")), (old, new));
    assert_eq!(c.state.definitions["core.b"].fingerprint, "f1");
    assert_eq!(c.state.derived[&old].forced, windows(&[(0, 10)]), "it has followed nothing meanwhile");
    assert_eq!(inputs(&c, "core.b"), [c.id("raw.a")]);
    c.claim(old, windows(&[(0, 10)])).unwrap();
}

#[test]
fn what_is_retired_goes_when_it_is_too_late_to_undo() {
    let mut c = with_dev();
    let old = c.id("core.b");
    c.command(promote("dev", &[("core__dev.b", "f2")])).unwrap();
    c.change(Change::ForgetRetired);
    assert!(c.state.tables.contains_key(&old));
    c.at += i64::try_from(common::rpc::master::UNDO_TTL.as_micros()).unwrap();
    assert_eq!(super::super::overdue_retired(&c.state, Micros(c.at)), ["core__undo3.b"]);
    c.change(Change::ForgetRetired);
    assert!(!c.state.tables.contains_key(&old) && c.state.retired.is_empty());
}

#[test]
fn an_environment_is_dropped_whole() {
    let mut c = with_dev();
    let dev = c.id("core__dev.b");
    let drop = |environment: &str| Command::DropEnvironment { environment: environment.into() };
    assert_eq!(kind(c.command(drop(""))), ErrorKind::InvalidArgument);
    c.command(drop("dev")).unwrap();
    assert!(!c.state.tables.contains_key(&dev) && c.state.definitions.len() == 2);
    assert_eq!(kind(c.command(drop("dev"))), ErrorKind::NotFound);
}

#[test]
fn a_change_planned_on_other_definitions_is_refused() {
    let mut c = with_dev();
    let base = c.state.definitions_version;
    let apply = |base, fingerprint| Command::ApplyDefinitions {
        create: Vec::new(),
        put: vec![put("core.b", fingerprint, &["raw.a"])],
        remove: Vec::new(),
        base,
    };
    c.command(apply(Some(base), "f3")).unwrap();
    let refused = c.command(apply(Some(base), "f4")).unwrap_err();
    assert!(refused.kind == ErrorKind::FailedPrecondition && refused.message.contains("plan again"), "{refused}");
    c.command(apply(Some(base + 1), "f3")).unwrap();
    assert_eq!(c.state.definitions_version, base + 1, "the same again is no change");
}
