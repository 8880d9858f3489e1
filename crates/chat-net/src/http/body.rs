//! Owns the one body type of requests and responses.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use chat_core::{Delivery, Error, ErrorKind};
use futures::{Stream, StreamExt};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// The body of a request or a response: nothing, bytes, or a stream.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    /// The mutex is never contended; it makes the body `Sync`, which HTTP libraries ask for.
    Stream(Mutex<Pin<Box<dyn HttpBody<Data = Bytes, Error = Error> + Send>>>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, HttpBody::size_hint(self).exact()) {
            (Inner::Stream(_), None) => f.write_str("Body(stream)"),
            (_, length) => write!(f, "Body({} bytes)", length.unwrap_or_default()),
        }
    }
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.0, Inner::Stream(_))
    }

    /// Wraps another body, for layers.
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error = Error> + Send + 'static,
    {
        Self(Inner::Stream(Mutex::new(Box::pin(body))))
    }

    /// An upload of exactly `length` bytes. A source that fails, or gives less or more, breaks the request off with
    /// [`ErrorKind::Io`]; the server never sees a complete request then.
    pub fn from_stream<S>(length: u64, stream: S) -> Self
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        if length == 0 {
            return Self::empty();
        }
        Self::wrap(Upload { left: length, stream: Box::pin(stream.fuse()) })
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Inner::Full(bytes)) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from(text).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Stream(body) => {
                body.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_frame(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Stream(body) => body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(body) => body.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
        }
    }
}

struct Upload {
    left: u64,
    stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
}

impl Upload {
    fn failed(why: &'static str) -> Error {
        Error::new(ErrorKind::Io, why).with_delivery(Delivery::NotSent)
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            return Poll::Ready(match ready!(self.stream.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => match self.left.checked_sub(bytes.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(Frame::data(bytes)))
                    }
                    None => Some(Err(Self::failed("the file is longer than announced"))),
                },
                Some(Err(error)) => {
                    Some(Err(crate::error::caused(Self::failed("the file cannot be read"), &error)))
                }
                None if self.left > 0 => Some(Err(Self::failed("the file is shorter than announced"))),
                None => None,
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
