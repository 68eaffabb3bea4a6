use bytes::{Buf, Bytes, BytesMut};
use common::{Error, Result};
use futures::{Stream, TryStreamExt};
use std::pin::Pin;
use std::time::Duration;

/// Cuts a body into lines, in memory bounded by the longest line that is allowed.
pub struct Lines {
    body: Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>>,
    buffer: BytesMut,
    /// Of `buffer`, what is known to hold no line end.
    searched: usize,
    /// Bytes of a line at most.
    most: usize,
    /// In the rest of a line that is too long.
    skipping: bool,
    ended: bool,
    /// Bytes of the body so far.
    pub bytes: u64,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its text without the line end.
    Text(Bytes),
    /// It is longer than allowed.
    TooLong,
}

impl Lines {
    /// Lines of `body` of up to `most` bytes.
    pub fn new(body: impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static, most: usize) -> Self {
        Self { body: Box::pin(body), buffer: BytesMut::new(), searched: 0, most, skipping: false, ended: false, bytes: 0 }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// `InvalidArgument` if the body breaks off.
    pub async fn next(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.try_next().await.map_err(|e| Error::invalid(format!("the body broke off: {e}")))? {
                Some(piece) => {
                    self.bytes += piece.len() as u64;
                    self.buffer.extend_from_slice(&piece);
                }
                None => self.ended = true,
            }
        }
    }

    /// Passes over the rest of the body, at most so many bytes and for so long: a connection on which a request is answered
    /// before its body was read can carry no other, and its client may learn that from its next request.
    pub async fn pass_over(&mut self, most: u64, within: Duration) {
        let from = self.bytes;
        let passing = async {
            while let Ok(Some(piece)) = self.body.try_next().await {
                self.bytes += piece.len() as u64;
                if self.bytes - from > most {
                    break;
                }
            }
        };
        // What is left then ends with the connection.
        let _ = tokio::time::timeout(within, passing).await;
    }

    fn cut(&mut self) -> Option<Line> {
        if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
            let mut line = self.buffer.split_to(self.searched + at);
            self.buffer.advance(1);
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                return self.cut();
            }
            if line.len() > self.most {
                return Some(Line::TooLong);
            }
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            return Some(Line::Text(line.freeze()));
        }
        self.searched = self.buffer.len();
        if self.skipping || self.buffer.len() > self.most {
            self.buffer.clear();
            self.searched = 0;
            return if std::mem::replace(&mut self.skipping, true) { None } else { Some(Line::TooLong) };
        }
        if self.ended && !self.buffer.is_empty() {
            self.searched = 0;
            return Some(Line::Text(std::mem::take(&mut self.buffer).freeze()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    async fn lines(pieces: &[&'static str], most: usize) -> Vec<Option<String>> {
        let body = stream::iter(pieces.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect::<Vec<_>>());
        let mut lines = Lines::new(body, most);
        let mut out = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            out.push(match line {
                Line::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
                Line::TooLong => None,
            });
        }
        out
    }

    #[tokio::test]
    async fn lines_are_cut_wherever_the_pieces_end() {
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(lines(&["a\nb", "c\r", "\n\nd"], 9).await, [text("a"), text("bc"), text(""), text("d")]);
        assert_eq!(lines(&["a\n"], 9).await, [text("a")]);
        assert_eq!(lines(&[], 9).await, []);
        assert_eq!(lines(&["long", "er than", " this\nok\n", "0123456789\nx"], 5).await, [None, text("ok"), None, text("x")]);
        assert_eq!(lines(&["longer", "and longer"], 5).await, [None]);
    }

    #[tokio::test]
    async fn a_refused_body_is_passed_over_up_to_a_bound() {
        let body = || futures::stream::iter((0..10).map(|_| Ok(Bytes::from_static(b"0123456789"))));
        let mut lines = Lines::new(body(), 100);
        lines.pass_over(1000, Duration::from_secs(60)).await;
        assert_eq!((lines.bytes, lines.next().await.unwrap()), (100, None));
        let mut lines = Lines::new(body(), 100);
        lines.pass_over(35, Duration::from_secs(60)).await;
        assert_eq!(lines.bytes, 40);
    }
}
