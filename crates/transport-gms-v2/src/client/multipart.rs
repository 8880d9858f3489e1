//! Owns the body of an upload: `multipart/form-data` with text parts first and one streamed file last. Source: §7, RFC 7578.

use std::{fmt::Write as _, io};

use bytes::Bytes;
use chat_core::Upload;
use chat_net::http::Body;
use futures::{Stream, StreamExt, stream};
use uuid::Uuid;

/// A form whose file is still to come.
#[derive(Debug)]
pub(crate) struct Multipart {
    boundary: String,
    head: String,
}

impl Multipart {
    pub(crate) fn new() -> Self {
        Self { boundary: format!("chat-{}", Uuid::new_v4().simple()), head: String::new() }
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.part(format_args!("name=\"{}\"\r\n\r\n{value}\r\n", quoted(name)));
    }

    /// Adds the file and closes the form. The length is exact; a source that gives more or less breaks the request off.
    pub(crate) fn file(mut self, name: &str, upload: &Upload) -> Body {
        self.part(format_args!(
            "name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            quoted(name),
            quoted(&upload.name),
            header_text(&upload.content_type),
        ));
        let tail = format!("\r\n--{}--\r\n", self.boundary);
        let length = upload.size.saturating_add((self.head.len() + tail.len()) as u64);
        let piece = |text: String| stream::iter([Ok(Bytes::from(text))]);
        Body::from_stream(length, piece(self.head).chain(source(upload)).chain(piece(tail)))
    }

    /// Closes a form without a file.
    pub(crate) fn close(self) -> Body {
        let Self { boundary, head } = self;
        Body::from(format!("{head}--{boundary}--\r\n"))
    }

    fn part(&mut self, rest: std::fmt::Arguments<'_>) {
        let Self { boundary, head } = self;
        // Writing to a `String` cannot fail.
        let _ = write!(head, "--{boundary}\r\nContent-Disposition: form-data; {rest}");
    }
}

/// The file's bytes, exactly as many as announced, with progress.
fn source(upload: &Upload) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (size, progress) = (upload.size, upload.progress.clone());
    progress.report(0);
    let whole = upload.source.open().map(Some).chain(stream::iter([None]));
    whole
        .scan(0_u64, move |seen, chunk| {
            let item = match chunk {
                Some(Ok(bytes)) => {
                    *seen = seen.saturating_add(bytes.len() as u64);
                    if *seen > size {
                        Some(Err(io::Error::other("the file is longer than announced")))
                    } else {
                        progress.report(*seen);
                        Some(Ok(bytes))
                    }
                }
                Some(Err(error)) => Some(Err(error)),
                None if *seen < size => Some(Err(io::Error::other("the file is shorter than announced"))),
                None => None,
            };
            std::future::ready(Some(item))
        })
        .filter_map(std::future::ready)
}

/// A name as browsers write it: quotes and line ends escaped, letters of all languages as they are, in UTF-8. Beyond that, whatever
/// has a meaning to some reader of headers is escaped, too: a backslash before the closing quote, and control characters.
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' | '\\' | '\0'..='\x1f' | '\x7f' => drop(write!(out, "%{:02X}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

/// A value that cannot begin another header; what is no value of one is not told.
fn header_text(value: &str) -> String {
    let plain: String = value.chars().filter(|c| !c.is_control()).collect();
    if plain.is_empty() || !plain.is_ascii() { "application/octet-stream".into() } else { plain }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chat_core::FileSource;
    use futures::stream::BoxStream;
    use http_body_util::BodyExt;

    use super::*;

    async fn written(form: Multipart, upload: &Upload) -> Result<String, chat_core::Error> {
        let body = form.file("file", upload).collect().await?;
        Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn texts_come_first_and_the_file_last() {
        let mut form = Multipart::new();
        let boundary = form.boundary.clone();
        assert_eq!(form.content_type(), format!("multipart/form-data; boundary={boundary}"));
        form.text("secureKey", "a+b/c=");
        form.text("userData[file-description]", "Grüße & more");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reports = Arc::clone(&seen);
        let upload = Upload::from_bytes("fatura ção \"1\"\r\n.pdf", "application/pdf", "%PDF")
            .with_progress(move |bytes| reports.lock().unwrap().push(bytes));
        assert_eq!(
            written(form, &upload).await.unwrap(),
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"secureKey\"\r\n\r\na+b/c=\r\n\
                 --{boundary}\r\nContent-Disposition: form-data; name=\"userData[file-description]\"\r\n\r\n\
                 Grüße & more\r\n\
                 --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"fatura ção %221%22%0D%0A.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n\
                 --{boundary}--\r\n"
            )
        );
        assert_eq!(*seen.lock().unwrap(), [0, 4]);
    }

    #[test]
    fn no_name_and_no_type_breaks_out_of_its_header() {
        for (name, expected) in [
            ("C:\\scans\\", "C:%5Cscans%5C"),
            ("a\"; name=\"secureKey", "a%22; name=%22secureKey"),
            ("a\r\n\r\nx\r\n--chat", "a%0D%0A%0D%0Ax%0D%0A--chat"),
            ("a\0b\t\u{7f}", "a%00b%09%7F"),
            ("\u{202e}fdp.exe \u{2028} Résumé 😀", "\u{202e}fdp.exe \u{2028} Résumé 😀"),
        ] {
            assert_eq!(quoted(name), expected);
        }
        assert_eq!(header_text("text/plain;\r\n x=1"), "text/plain; x=1");
        for none in ["", "\r\n", "text/plain; name=é"] {
            assert_eq!(header_text(none), "application/octet-stream");
        }
    }

    #[derive(Debug)]
    struct Pieces(&'static [&'static str]);

    impl FileSource for Pieces {
        fn open(&self) -> BoxStream<'static, io::Result<Bytes>> {
            stream::iter(self.0.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())))).boxed()
        }
    }

    #[tokio::test]
    async fn a_source_of_another_length_breaks_the_upload_off() {
        for pieces in [&["12345"][..], &["123", "456"], &[], &["1234", "12345678901234567890"]] {
            let mut upload = Upload::from_bytes("x", "text/plain\r\nEvil: 1", "1234");
            upload.source = Arc::new(Pieces(pieces));
            let error = written(Multipart::new(), &upload).await.expect_err("broken off");
            assert_eq!(error.kind(), &chat_core::ErrorKind::Io, "{pieces:?}");
        }
        let mut upload = Upload::from_bytes("x", "text/plain\r\nEvil: 1", "1234");
        upload.source = Arc::new(Pieces(&["12", "", "34"]));
        let text = written(Multipart::new(), &upload).await.unwrap();
        assert!(text.contains("Content-Type: text/plainEvil: 1\r\n\r\n1234\r\n--"), "{text}");
    }
}
