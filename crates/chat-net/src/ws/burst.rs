//! Owns reading in bursts: few reads from the socket while much arrives, and no memory for it while nothing does.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Io;

/// The most that is read from the socket at once: a TLS record.
const MOST: usize = 16 * 1024;
/// What ends the head of the answer to an upgrade.
const HEAD_END: &[u8; 4] = b"\r\n\r\n";

/// A byte stream that is read ahead of its reader. Never past the head of the upgrade's answer: so the handshake, whose buffer
/// is large, can be taken down without losing what follows.
pub(super) struct Burst {
    io: Io,
    /// Read, and not asked for yet.
    ahead: Bytes,
    /// How much of [`HEAD_END`] has just been seen; all of it from then on.
    head: usize,
}

impl Burst {
    pub(super) const fn new(io: Io) -> Self {
        Self { io, ahead: Bytes::new(), head: 0 }
    }
}

/// How many of `bytes` to hand out, to who has room for `room`.
fn portion(head: &mut usize, bytes: &[u8], room: usize) -> usize {
    let most = bytes.len().min(room);
    for (at, byte) in bytes.iter().take(most).enumerate() {
        match HEAD_END.get(*head) {
            None => return most,
            Some(expected) if expected == byte => *head += 1,
            Some(_) => *head = usize::from(*byte == b'\r'),
        }
        if *head == HEAD_END.len() {
            return at + 1;
        }
    }
    most
}

impl AsyncRead for Burst {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, ahead, head } = self.get_mut();
        if ahead.is_empty() {
            let mut space = [MaybeUninit::uninit(); MOST];
            let mut space = ReadBuf::uninit(&mut space);
            ready!(Pin::new(io).poll_read(cx, &mut space))?;
            let read = space.filled();
            let (now, later) = read.split_at(portion(head, read, buf.remaining()));
            buf.put_slice(now);
            if !later.is_empty() {
                *ahead = Bytes::copy_from_slice(later);
            }
        } else {
            let now = ahead.split_to(portion(head, ahead, buf.remaining()));
            buf.put_slice(&now);
            if ahead.is_empty() {
                *ahead = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Burst {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_head_comes_alone_and_nothing_is_lost() {
        let (mut server, client) = tokio::io::duplex(64 * 1024);
        let rest: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
        server.write_all(b"HTTP/1.1 101\r\nA: b\r\r\n\r\n").await.unwrap();
        server.write_all(&rest).await.unwrap();
        drop(server);
        let mut burst = Burst::new(Box::new(client));
        let mut head = [0; 4096];
        let read = burst.read(&mut head).await.unwrap();
        assert_eq!(&head[..read], b"HTTP/1.1 101\r\nA: b\r\r\n\r\n");
        let mut all = Vec::new();
        burst.read_to_end(&mut all).await.unwrap();
        assert!(all == rest);
    }
}
