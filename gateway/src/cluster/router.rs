//! Splits a batch of rows by tablet and sends the pieces.
//!
//! The rules: a piece is sent again only under its own request id, until its outcome is known. Rows are cut into
//! new pieces only while it is certain that they were not written. Pieces of one tablet go one after the other, so
//! that of two changes to one row the later one wins.
//!
//! A tablet that was split or merged has left what it knew of requests to those that hold its rows now. A piece that it may
//! have written goes to each of them whole, under the same id: who has inherited the answer repeats it for all rows, who
//! has not writes those of its own range and refuses the others. Each row's result is that of the tablet that holds it.

use super::Cluster;
use super::call::{TRY_FOR, answered, may_pass};
use super::patience::Patience;
use common::ids::{Seq, TabletId};
use common::row::{Committed, RowMutation};
use common::rpc::tablet::{RowResult, Target, WriteRequest, WriteResponse};
use common::schema::Table;
use common::time::Micros;
use common::{Error, ErrorKind, Result, limits};
use futures::StreamExt;
use futures::stream;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of a piece, above which it is cut: several then travel at once, and none nears the message limit.
const PIECE_BYTES: usize = 4 << 20;
/// Tablets that one batch is sent to at a time.
pub(super) const AT_ONCE: usize = 8;
/// How long a tablet server that has too much to do is tried again. Then its refusal is passed on: the client has more room
/// to wait than a gateway, where all clients' rows would gather.
const BUSY_FOR: Duration = Duration::from_secs(1);

const _: () = assert!(PIECE_BYTES + limits::MAX_CELL_BYTES < limits::MAX_RPC_MESSAGE_BYTES);

type Results = Vec<Option<Result<Committed>>>;

/// Rows that travel together to one tablet.
struct Piece {
    tablet: TabletId,
    /// Of the rows in the request: position there, index into the batch. All of them, but for a tablet that has some of a
    /// piece's rows from another one.
    rows: Vec<(usize, usize)>,
    request: WriteRequest,
}

/// What a tablet has answered to a piece.
type Answered = (Piece, Result<WriteResponse>);

pub(super) async fn write(cluster: &Cluster, table: &Table, rows: Vec<RowMutation>, internal: bool) -> Result<Vec<Result<Committed>>> {
    cluster.view().tablets(table)?;
    let mut results: Results = rows.iter().map(|r| r.check().err().map(Err)).collect();
    let (mut patience, mut busy) = (Patience::of(TRY_FOR), Patience::of(BUSY_FOR));
    loop {
        let pieces = cut(cluster, table, &rows, &results, internal)?;
        let sent = stream::iter(pieces).map(|p| deliver_in_order(cluster, table, p)).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        let mut refused = None;
        for (piece, outcome) in sent.into_iter().flatten() {
            settle(&mut results, &piece, outcome, &mut refused);
        }
        let Some(error) = refused else { return finish(results) };
        let patience = if error.kind == ErrorKind::ResourceExhausted { &mut busy } else { &mut patience };
        if !cluster.wait(patience, &error).await {
            results.iter_mut().for_each(|r| _ = r.get_or_insert_with(|| Err(error.clone())));
            return finish(results);
        }
    }
}

fn finish(results: Results) -> Result<Vec<Result<Committed>>> {
    results.into_iter().map(|r| r.ok_or_else(|| Error::internal("a row without a result"))).collect()
}

/// The rows without a result, by tablet and cut by size, under new request ids.
fn cut(cluster: &Cluster, table: &Table, rows: &[RowMutation], results: &Results, internal: bool) -> Result<Vec<Vec<Piece>>> {
    let view = cluster.view();
    let mut by_tablet: BTreeMap<TabletId, Vec<usize>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate().filter(|(i, _)| results[*i].is_none()) {
        by_tablet.entry(view.tablet_at(table, &row.key)?.id).or_default().push(i);
    }
    let piece = |tablet, indices: &[usize]| Piece {
        tablet,
        rows: indices.iter().copied().enumerate().collect(),
        request: WriteRequest {
            target: Some(Target::new(table.id, tablet)),
            request_id: rand::random::<[u8; 16]>().to_vec().into(),
            rows: indices.iter().map(|&i| rows[i].clone().into()).collect(),
            internal,
        },
    };
    Ok(by_tablet.iter().map(|(&t, all)| pieces_of(rows, all).into_iter().map(|some| piece(t, some)).collect()).collect())
}

/// Cuts `indices` so that no piece is much above its limits; a row is never cut.
pub(super) fn pieces_of<'a>(rows: &[RowMutation], mut indices: &'a [usize]) -> Vec<&'a [usize]> {
    let mut pieces = Vec::new();
    while !indices.is_empty() {
        let (mut bytes, mut mutations) = (0, 0);
        let fits = |&&i: &&usize| {
            bytes += rows[i].weight();
            mutations += rows[i].mutations.len();
            bytes <= PIECE_BYTES && mutations <= limits::MAX_MUTATIONS_PER_REQUEST
        };
        let count = indices.iter().take_while(fits).count().max(1);
        let (piece, rest) = indices.split_at(count);
        pieces.push(piece);
        indices = rest;
    }
    pieces
}

/// Sends the pieces of one tablet. Those behind one that was not written wait for another round.
async fn deliver_in_order(cluster: &Cluster, table: &Table, pieces: Vec<Piece>) -> Vec<Answered> {
    let mut outcomes = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let from = outcomes.len();
        deliver(cluster, table, piece, &mut outcomes).await;
        if outcomes[from..].iter().any(|(_, outcome)| outcome.as_ref().is_err_and(Error::is_retryable)) {
            break;
        }
    }
    outcomes
}

/// Sends a piece until its outcome is known or the patience is at its end; if its tablet is no more, to those that have its
/// rows.
async fn deliver(cluster: &Cluster, table: &Table, piece: Piece, outcomes: &mut Vec<Answered>) {
    let mut patience = Patience::of(TRY_FOR);
    let mut open = vec![(piece, false)];
    while let Some((piece, uncertain)) = open.pop() {
        match deliver_to_one(cluster, table, &piece, uncertain, &mut patience).await {
            Delivered::Answered(outcome) => outcomes.push((piece, outcome)),
            Delivered::Inherited(pieces) => open.extend(pieces.into_iter().map(|piece| (piece, true))),
        }
    }
}

/// How sending to one tablet ends.
enum Delivered {
    /// A retryable error means: surely not written.
    Answered(Result<WriteResponse>),
    /// The tablet is no more, and may have written: these know, or will decide.
    Inherited(Vec<Piece>),
}

async fn deliver_to_one(cluster: &Cluster, table: &Table, piece: &Piece, mut uncertain: bool, patience: &mut Patience) -> Delivered {
    loop {
        let gone = uncertain && cluster.view().tablet(table.id, piece.tablet).is_none();
        let sent = if gone { heirs(cluster, table, piece).map(Delivered::Inherited) } else { send_once(cluster, table, piece).await };
        let error = match sent {
            Ok(delivered) => return delivered,
            Err(e) => e,
        };
        uncertain |= matches!(error.kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded);
        let refused = matches!(error.kind, ErrorKind::NotMine | ErrorKind::Fenced | ErrorKind::ResourceExhausted);
        let again = may_pass(&error) || error.kind == ErrorKind::DeadlineExceeded;
        if !again || (refused && !uncertain) || !cluster.wait(patience, &error).await {
            return Delivered::Answered(Err(if uncertain && again { unknown(&error) } else { error }));
        }
    }
}

/// The same request for each of the tablets that hold its rows now.
fn heirs(cluster: &Cluster, table: &Table, piece: &Piece) -> Result<Vec<Piece>> {
    let view = cluster.view();
    let mut by_tablet: BTreeMap<TabletId, Vec<(usize, usize)>> = BTreeMap::new();
    for (at, row) in &piece.rows {
        let tablet = view.tablet_at(table, &piece.request.rows[*at].key)?;
        by_tablet.entry(tablet.id).or_default().push((*at, *row));
    }
    let heir = |(tablet, rows)| {
        let request = WriteRequest { target: Some(Target::new(table.id, tablet)), ..piece.request.clone() };
        Piece { tablet, rows, request }
    };
    Ok(by_tablet.into_iter().map(heir).collect())
}

async fn send_once(cluster: &Cluster, table: &Table, piece: &Piece) -> Result<Delivered> {
    let mut client = cluster.client(table.id, piece.tablet)?;
    let answer = answered(piece.tablet, client.write(piece.request.clone())).await?;
    Ok(Delivered::Answered(Ok(answer.into_inner())))
}

pub(super) fn unknown(error: &Error) -> Error {
    Error::unavailable(format!("it is not known whether the row was written: read it, or write it again ({error})"))
}

/// Enters the outcome of a piece; rows that may be sent anew stay without a result, and `refused` says why.
fn settle(results: &mut Results, piece: &Piece, outcome: Result<WriteResponse>, refused: &mut Option<Error>) {
    let asked = piece.request.rows.len();
    let response = match outcome {
        Ok(response) if response.results.len() == asked => Ok(response),
        Ok(response) => Err(Error::internal(format!("{} results for {asked} rows", response.results.len()))),
        Err(e) if e.is_retryable() => return *refused = Some(e),
        Err(e) => Err(e),
    };
    let mut response = match response {
        Ok(response) => response,
        Err(e) => return piece.rows.iter().for_each(|(_, row)| results[*row] = Some(Err(e.clone()))),
    };
    for (at, row) in &piece.rows {
        match committed(std::mem::take(&mut response.results[*at])) {
            Err(e) if e.is_retryable() => *refused = Some(e),
            known => results[*row] = Some(known),
        }
    }
}

fn committed(result: RowResult) -> Result<Committed> {
    match result.error() {
        Some(e) => Err(e),
        None => Ok(Committed { seq: Seq(result.seq), timestamp: Micros(result.timestamp) }),
    }
}
