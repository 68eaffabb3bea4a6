use super::harness::{World, changes, key, mark, read, scan, set, table, target, write, write_request};
use common::ErrorKind;
use common::ids::{FamilyId, Seq};
use common::row::{Columns, Mutation, ReadSpec, RowMutation};
use common::rpc::master::TabletState;
use common::rpc::tablet::{ReadAt, StatusRequest};
use common::schema::TableKind;

#[tokio::test]
async fn rows_are_written_read_scanned_and_followed() {
    let world = World::new().await;
    let t = table(7, "raw.t", TableKind::Raw);
    let (server, mut c) = world.serve(&[&t], 1).await;
    let results = write(&mut c, &t, vec![set(&t, "b", 2), set(&t, "a", 1), mark(&t, "c")]).await.unwrap();
    assert!(results.iter().all(|r| r.error().is_none() && r.seq > 0));
    let before = c.status(StatusRequest { target: target(&t) }).await.unwrap().into_inner().visible_seq;

    let rows = read(&mut c, &t, ReadSpec::row(&key(&t, "a")), ReadAt::newest()).await.unwrap();
    assert_eq!((rows.len(), rows[0].cells.len()), (1, 1));
    assert_eq!(scan(&mut c, &t, &["k", "n", "attrs"], ReadAt::newest()).await.unwrap(), ["a 1 ", "b 2 ", "c  "]);
    assert_eq!(scan(&mut c, &t, &["s", "k"], ReadAt::newest()).await.unwrap(), [" a", " b", " c"], "rows without a wanted cell show");
    assert_eq!(scan(&mut c, &t, &[], ReadAt::newest()).await.unwrap().len(), 3);

    write(&mut c, &t, vec![set(&t, "a", 10), set(&t, "b", 2)]).await.unwrap();
    let delete = RowMutation { key: key(&t, "c"), mutations: vec![Mutation::DeleteRow] };
    write(&mut c, &t, vec![delete, set(&t, "d", 4)]).await.unwrap();
    assert_eq!(scan(&mut c, &t, &["k", "n"], ReadAt::seq(Seq(before))).await.unwrap(), ["a 1", "b 2", "c "], "a snapshot stays");
    let changed = changes(&mut c, &t, &["k", "n"], Seq(before), ReadAt::newest()).await.unwrap();
    assert_eq!(changed, ["a 1 0", "a 10 1", "c  0", "d 4 1"], "b was rewritten as it was");
    assert_eq!(changes(&mut c, &t, &["k"], Seq(before), ReadAt::seq(Seq(before))).await.unwrap(), Vec::<String>::new());
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_wrong_row_is_refused_alone_and_a_wrong_request_whole() {
    let world = World::new().await;
    let mut appended = table(8, "raw.log", TableKind::Raw);
    appended.spec.append_only = true;
    let (t, system, derived) =
        (table(7, "raw.t", TableKind::Raw), table(9, "system.s", TableKind::System), table(10, "d.d", TableKind::Derived));
    let (server, mut c) = world.serve(&[&t, &appended, &system, &derived], 1).await;

    let mut unknown = set(&t, "b", 2);
    if let Mutation::Set { family, .. } = &mut unknown.mutations[0] {
        *family = FamilyId(99);
    }
    let empty = RowMutation { key: key(&t, "c"), mutations: Vec::new() };
    let results = write(&mut c, &t, vec![set(&t, "a", 1), unknown, empty, set(&t, "d", 4)]).await.unwrap();
    let kinds: Vec<_> = results.iter().map(|r| r.error().map(|e| e.kind)).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::InvalidArgument), Some(ErrorKind::InvalidArgument), None]);
    assert_eq!(scan(&mut c, &t, &["k"], ReadAt::newest()).await.unwrap(), ["a", "d"]);

    let delete = RowMutation { key: key(&appended, "a"), mutations: vec![Mutation::DeleteRow] };
    let results = write(&mut c, &appended, vec![delete]).await.unwrap();
    assert!(results[0].error().unwrap().message.contains("append-only"));
    for closed in [&system, &derived] {
        let e = write(&mut c, closed, vec![set(closed, "a", 1)]).await.unwrap_err();
        assert_eq!(e.kind, ErrorKind::FailedPrecondition, "{}", closed.name);
    }
    let mut internal = write_request(&system, vec![set(&system, "a", 1)]);
    internal.internal = true;
    assert!(c.write(internal).await.is_ok());
    let mut short = write_request(&t, vec![set(&t, "a", 1)]);
    short.request_id = bytes::Bytes::from_static(b"short");
    assert_eq!(c.write(short).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let e = scan(&mut c, &t, &["nope"], ReadAt::newest()).await.unwrap_err();
    assert!(e.message.contains("nope"), "{e}");
    let other = table(11, "raw.other", TableKind::Raw);
    assert_eq!(scan(&mut c, &other, &["k"], ReadAt::newest()).await.unwrap_err().kind, ErrorKind::NotMine);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_repeated_write_gets_its_first_result() {
    let world = World::new().await;
    let t = table(7, "raw.t", TableKind::Raw);
    let (server, mut c) = world.serve(&[&t], 1).await;
    let mut request = write_request(&t, vec![set(&t, "a", 1)]);
    request.request_id = bytes::Bytes::from_static(&[7; 16]);
    let first = c.write(request.clone()).await.unwrap().into_inner();
    assert_eq!(c.write(request).await.unwrap().into_inner(), first);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn large_scans_come_in_many_messages_and_stop_with_their_reader() {
    let world = World::new().await;
    let t = table(7, "raw.t", TableKind::Raw);
    let (server, mut c) = world.serve(&[&t], 1).await;
    for block in 0..20 {
        let rows = (0..500).map(|i| set(&t, &format!("{:05}", block * 500 + i), i)).collect();
        write(&mut c, &t, rows).await.unwrap();
    }
    let all = scan(&mut c, &t, &["k", "n"], ReadAt::newest()).await.unwrap();
    assert_eq!((all.len(), all[0].as_str(), all[9999].as_str()), (10_000, "00000 0", "09999 499"));
    // More unread scans than there are permits: each holds its own messages and nobody else's turn.
    let mut unread = Vec::new();
    for _ in 0..24 {
        let (target, spec) = (target(&t), Some(ReadSpec::default().into()));
        let request = common::rpc::tablet::ScanRequest { target, spec, at: None, columns: vec!["k".into()], batch_rows: 16 };
        unread.push(c.scan(request).await.unwrap());
    }
    let spec = ReadSpec { columns: Columns::Some(Vec::new()), keep_empty_rows: true, ..ReadSpec::default() };
    assert_eq!(read(&mut c, &t, spec, ReadAt::newest()).await.unwrap().len(), 10_000);
    assert_eq!(scan(&mut c, &t, &[], ReadAt::newest()).await.unwrap().len(), 10_000);
    drop(unread);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_surplus_tablet_is_closed_and_reported_closed() {
    let world = World::new().await;
    let (t, u) = (table(7, "raw.t", TableKind::Raw), table(8, "raw.u", TableKind::Raw));
    let (server, mut c) = world.serve(&[&t, &u], 1).await;
    write(&mut c, &t, vec![set(&t, "a", 1)]).await.unwrap();
    world.order(|said| said.desired.retain(|d| d.table == u.id));
    let report = world.until_tablet(7, |_, state| *state == TabletState::Closed).await;
    assert_eq!(report.tablets.iter().find(|r| r.tablet.0 == 7).unwrap().visible_seq, Seq(1));
    assert_eq!(read(&mut c, &t, ReadSpec::default(), ReadAt::newest()).await.unwrap_err().kind, ErrorKind::NotMine);
    assert_eq!(scan(&mut c, &u, &["k"], ReadAt::newest()).await.unwrap(), Vec::<String>::new());
    world.order(|said| said.desired.push(super::harness::desired(&t, 2)));
    world.until_tablet(7, |epoch, state| epoch == 2 && *state == TabletState::Open).await;
    assert_eq!(scan(&mut c, &t, &["k", "n"], ReadAt::newest()).await.unwrap(), ["a 1"]);
    server.shutdown().await.unwrap();
}
