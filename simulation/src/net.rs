//! turmoil's network as the roles' [`Net`]; each write is an event of the trace.

use crate::trace::Trace;
use common::rpc::net::{Io, Listening, Net, SharedNet};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// The network as one host sees it.
#[derive(Debug)]
pub struct SimNet {
    host: Arc<str>,
    trace: Trace,
}

impl SimNet {
    /// Of this host.
    #[must_use]
    pub fn shared(host: &str, trace: &Trace) -> SharedNet {
        Arc::new(Self { host: host.into(), trace: trace.clone() })
    }

    fn wire(&self, stream: TcpStream, peer: String) -> Io {
        Io::new(Wire { stream, host: self.host.clone(), peer, trace: self.trace.clone() })
    }
}

impl Net for SimNet {
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Listening>> {
        async move {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port())).await?;
            let address = listener.local_addr()?;
            let me = Self { host: self.host.clone(), trace: self.trace.clone() };
            let incoming = stream::unfold((listener, me), |(listener, me)| async {
                let accepted = listener.accept().await.map(|(stream, from)| me.wire(stream, from.to_string()));
                Some((accepted, (listener, me)))
            });
            Ok(Listening { address, incoming: incoming.boxed() })
        }
        .boxed()
    }

    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Io>> {
        let me = Self { host: self.host.clone(), trace: self.trace.clone() };
        async move {
            me.trace.note(&me.host, format_args!("dials {address}"));
            let stream = TcpStream::connect(address.as_str()).await?;
            Ok(me.wire(stream, address))
        }
        .boxed()
    }
}

struct Wire {
    stream: TcpStream,
    host: Arc<str>,
    peer: String,
    trace: Trace,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = &written {
            self.trace.note(&self.host, format_args!("→ {} {n} B {:08x}", self.peer, crc32c::crc32c(&buf[..*n])));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
