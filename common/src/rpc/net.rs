//! Where connections come from and go to. Roles are given a [`Net`], so that a simulated network can stand under all of them.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::Connected;

/// The network of a process.
pub trait Net: Debug + Send + Sync + 'static {
    /// Listens at an address; port 0 takes a free one.
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Listening>>;

    /// Connects to `host:port`.
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Io>>;
}

/// Shared by all parts of a process.
pub type SharedNet = Arc<dyn Net>;

/// A listening socket.
pub struct Listening {
    /// Where, with the port that was taken.
    pub address: SocketAddr,
    /// Connections as they come.
    pub incoming: BoxStream<'static, io::Result<Io>>,
}

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection.
pub struct Io(Box<dyn Duplex>);

impl Io {
    /// Of any kind of network.
    pub fn new(duplex: impl Duplex + 'static) -> Self {
        Self(Box::new(duplex))
    }
}

/// TCP of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Tcp {
    /// As [`SharedNet`].
    #[must_use]
    pub fn shared() -> SharedNet {
        Arc::new(Self)
    }
}

impl Net for Tcp {
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Listening>> {
        async move {
            let listener = TcpListener::bind(at).await?;
            let address = listener.local_addr()?;
            let incoming = stream::unfold(listener, |listener| async { Some((accept(&listener).await, listener)) });
            Ok(Listening { address, incoming: incoming.boxed() })
        }
        .boxed()
    }

    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Io>> {
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Io::new(stream))
        }
        .boxed()
    }
}

async fn accept(listener: &TcpListener) -> io::Result<Io> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(Io::new(stream))
}

impl Connected for Io {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Io")
    }
}
