//! Owns the network between client and service: a relay on the loopback interface that can be cut and mended.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// A cable that leads to one address. Dropped, it is gone, with everything that runs over it.
#[derive(Debug)]
pub(crate) struct Cable {
    address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
    relay: JoinHandle<()>,
}

impl Cable {
    /// A whole cable from a free port to `far_end`.
    ///
    /// # Errors
    /// If there is no port.
    pub(crate) async fn lay(far_end: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let whole = Arc::new(watch::Sender::new(true));
        let relay = tokio::spawn(relay(listener, far_end, Arc::clone(&whole)));
        Ok(Self { address, whole, relay })
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and each new one at once.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// New connections come through again.
    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn relay(listener: TcpListener, far_end: SocketAddr, whole: Arc<watch::Sender<bool>>) {
    let mut connections = JoinSet::new();
    // A loopback port that accepts no more is of no more use.
    while let Ok((near, _)) = listener.accept().await {
        // Those that are over are forgotten.
        while connections.try_join_next().is_some() {}
        let mut whole = whole.subscribe();
        if *whole.borrow() {
            connections.spawn(async move {
                tokio::select! {
                    () = join(near, far_end) => {}
                    // The cable outlives its connections.
                    _ = whole.wait_for(|whole| !whole) => {}
                }
            });
        }
    }
}

/// Carries bytes both ways, as long as both ends want.
async fn join(mut near: TcpStream, far_end: SocketAddr) {
    let Ok(mut far) = TcpStream::connect(far_end).await else { return };
    for end in [&near, &far] {
        // Slower without it, no more.
        let _ = end.set_nodelay(true);
    }
    // Whatever ends it ends it for both.
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes back of `x` over a connection; nothing, if it does not come through.
    async fn echo(near: &mut TcpStream) -> Option<u8> {
        near.write_all(b"x").await.ok()?;
        near.read_u8().await.ok()
    }

    #[tokio::test]
    async fn a_cut_ends_what_runs_and_keeps_out_what_comes_until_it_is_mended() {
        let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Cable::lay(far.local_addr().unwrap()).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = far.accept().await {
                tokio::spawn(async move {
                    let (mut reading, mut writing) = stream.split();
                    tokio::io::copy(&mut reading, &mut writing).await
                });
            }
        });
        let mut before = TcpStream::connect(cable.address()).await.unwrap();
        assert_eq!(echo(&mut before).await, Some(b'x'));
        cable.cut();
        assert_eq!(before.read(&mut [0]).await.ok().filter(|read| *read > 0), None, "ended");
        let mut meanwhile = TcpStream::connect(cable.address()).await.unwrap();
        assert_eq!(echo(&mut meanwhile).await, None);
        cable.mend();
        let mut after = TcpStream::connect(cable.address()).await.unwrap();
        assert_eq!(echo(&mut after).await, Some(b'x'));
    }
}
