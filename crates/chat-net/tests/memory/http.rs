//! Requests and responses, and every way in which they fail.

use std::{io, time::Duration};

use bytes::Bytes;
use chat_core::{Delivery, ErrorKind, Retry};
use chat_net::{
    HostPolicy, NetConfig,
    http::{Body, CookieJar, HandedOut, HttpClient, MaxResponseBytes, ReadIdleTimeout, RequestTimeout},
    memory::{Direction, MemoryNetwork},
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::server::{URL, answer, client, get, json, network, post, read_request};

const API: &str = "api.example.org:443";

#[tokio::test(start_paused = true)]
async fn a_request_and_its_answer() {
    let network = MemoryNetwork::new();
    let config = NetConfig::default().user_agent_suffix("shop/7").extra_header("x-gateway-key", "k3y");
    let seen = answer(&network, API, json("{\"a\":1}"));
    let reply = client(&network, &config).send(post(URL, "{}")).await.unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json("x").unwrap(), "{\"a\":1}");
    let request = seen.lock().unwrap().remove(0);
    assert!(request.starts_with("POST /x?token=s3cr3t HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: api.example.org\r\n"), "{request}");
    assert!(
        request.contains(concat!("user-agent: chat-transport/", env!("CARGO_PKG_VERSION"), " shop/7\r\n")),
        "{request}"
    );
    assert!(request.contains("x-gateway-key: k3y\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn configured_headers_stay_away_from_urls_that_were_handed_out() {
    let network = MemoryNetwork::new();
    let config = NetConfig::default().extra_header("x-gateway-key", "k3y");
    let seen = answer(&network, "files.example.org:443", json("{}"));
    let mut request = get("https://files.example.org/a");
    request.extensions_mut().insert(HandedOut(HostPolicy::vendor(["example.org"])));
    client(&network, &config).send(request).await.unwrap();
    assert!(!seen.lock().unwrap()[0].contains("k3y"));
}

#[tokio::test(start_paused = true)]
async fn urls_that_were_handed_out_are_checked_and_others_as_configured() {
    let (network, net) = network();
    for url in [
        "https://evil.org/",
        "https://169.254.169.254/latest",
        "http://files.example.org/",
        "https://10.0.0.1/",
    ] {
        let mut request = get(url);
        request.extensions_mut().insert(HandedOut(HostPolicy::vendor(["example.org"])));
        let error = net.http().send(request).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::HostRefused, Delivery::NotSent), "{url}");
    }
    for url in ["/relative", "http://example.org/", "ftp://example.org/"] {
        assert_eq!(net.http().send(get(url)).await.unwrap_err().kind(), &ErrorKind::HostRefused, "{url}");
    }
    assert_eq!(network.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_not_sent() {
    let (network, net) = network();
    let error = net.http().send(get(URL)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Network, Delivery::NotSent));
    answer(&network, API, json("{}"));
    network.cut();
    assert_eq!(net.http().send(get(URL)).await.unwrap_err().delivery(), Delivery::NotSent);
    network.heal();
    net.http().send(get(URL)).await.unwrap();
    assert_eq!(network.connections(), 1, "nothing is retried");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_come_about_is_not_sent() {
    let (network, net) = network();
    answer(&network, API, json("{}"));
    network.half_open();
    let started = Instant::now();
    let error = net.http().send(get(URL)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::NotSent));
    assert_eq!(started.elapsed(), Duration::from_secs(10));

    // A request that allows less time than a connection does gives up before, and knows as much.
    let mut request = get(URL);
    request.extensions_mut().insert(RequestTimeout(Duration::from_secs(3)));
    let started = Instant::now();
    let error = net.http().send(request).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::NotSent));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn silence_after_the_request_is_unknown() {
    for body in [Body::empty(), Body::from("{}")] {
        let (network, net) = network();
        let mut listener = network.listen(API);
        let started = Instant::now();
        let error = net.http().send(post(URL, body)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        let mut stream = listener.accept().await.unwrap();
        assert!(read_request(&mut stream).await.is_some());
        assert!(read_request(&mut stream).await.is_none(), "the connection is closed");
        assert_eq!(network.connections(), 1, "nothing is retried");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_cut_at_any_byte_is_an_error_of_unknown_delivery() {
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n";
    for whole in [json("{\"a\":1}"), chunked.to_owned()] {
        for length in 0..=whole.len() {
            // Reset, and closed in good order.
            for reset in [true, false] {
                if reset && length == 0 {
                    // Reset before the request left.
                    continue;
                }
                let (network, net) = network();
                if reset {
                    answer(&network, API, whole.clone());
                    network.cut_after(Direction::ToClient, length as u64);
                } else {
                    answer(&network, API, whole.clone().into_bytes()[..length].to_vec());
                }
                match net.http().send(post(URL, "{}")).await {
                    Ok(reply) => {
                        assert_eq!(length, whole.len(), "cut after {length} of {}", whole.len());
                        assert_eq!(reply.body, "{\"a\":1}");
                    }
                    Err(error) => {
                        assert_ne!(length, whole.len(), "{error:?}");
                        assert_eq!(
                            (error.kind(), error.delivery()),
                            (&ErrorKind::Network, Delivery::Unknown)
                        );
                    }
                }
                assert_eq!(network.connections(), 1, "nothing is retried");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_response_ends_with_the_request_and_a_stalled_one_before() {
    for (pause, idle, expected) in [(1, None, 30), (16, None, 15), (16, Some(20), 30)] {
        let (network, net) = network();
        let mut listener = network.listen(API);
        tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
            loop {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        let started = Instant::now();
        let mut request = get(URL);
        if let Some(idle) = idle {
            request.extensions_mut().insert(ReadIdleTimeout(Duration::from_secs(idle)));
        }
        let error = net.http().send(request).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
        assert_eq!(started.elapsed(), Duration::from_secs(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_does_not_hold_others_up() {
    let (network, net) = network();
    let _silent = network.listen("slow.example.org:443");
    answer(&network, API, json("{}"));
    let http = net.http().clone();
    let slow = tokio::spawn(async move { http.send(get("https://slow.example.org/")).await });
    let started = Instant::now();
    net.http().send(get(URL)).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), &ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_captive_portal_is_an_unexpected_response() {
    let (network, net) = network();
    let html = "<html><title>Airport login</title><a href=\"/?session=0123456789abcdef\">Accept</a></html>";
    let page = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: Text/HTML; charset=utf-8\r\ncontent-length: {}\r\n\r\n{html}",
        html.len()
    );
    answer(&network, API, page);
    let error = net.http().send(get(URL)).await.unwrap().json("poll").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unexpected response: poll: text/html, 88 bytes: Airport login Accept (200)"
    );
    assert_eq!(error.retry(), Retry::Backoff);

    answer(&network, API, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let error = net.http().send(get(URL)).await.unwrap().json("poll").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnexpectedResponse);

    let gzip = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}";
    answer(&network, API, gzip);
    let error = net.http().send(get(URL)).await.unwrap().json("poll").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::UnexpectedResponse);
}

#[tokio::test(start_paused = true)]
async fn redirects_are_refused() {
    for status in [301, 302, 303, 307, 308] {
        let (network, net) = network();
        let evil = answer(&network, "evil.org:443", json("{}"));
        answer(
            &network,
            API,
            format!("HTTP/1.1 {status} Moved\r\nlocation: https://evil.org/\r\ncontent-length: 0\r\n\r\n"),
        );
        let error = net.http().send(get(URL)).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::UnexpectedResponse);
        assert_eq!(error.vendor().status, Some(status));
        assert!(evil.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_cap_is_not_read() {
    let network = MemoryNetwork::new();
    let http = client(&network, &NetConfig::default().max_response_bytes(8));
    let eight = json("12345678");
    answer(&network, API, eight);
    assert_eq!(http.send(get(URL)).await.unwrap().body.len(), 8);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n";
    let lie = "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\n123456789";
    for answered in [json("123456789"), chunked.to_owned(), lie.to_owned()] {
        answer(&network, API, answered);
        let error = http.send(get(URL)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::UnexpectedResponse, Retry::Never),
            "{error:?}"
        );
    }
    answer(&network, API, json("123456789"));
    let mut request = get(URL);
    request.extensions_mut().insert(MaxResponseBytes(9));
    assert_eq!(http.send(request).await.unwrap().body.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_not_collected() {
    for head in [format!("x-a: {}\r\n", "a".repeat(1 << 20)), "x: y\r\n".repeat(10_000)] {
        let (network, net) = network();
        answer(&network, API, format!("HTTP/1.1 200 OK\r\n{head}content-length: 0\r\n\r\n"));
        let error = net.http().send(get(URL)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (&ErrorKind::UnexpectedResponse, Delivery::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_an_answer_and_says_when_to_come_back() {
    let (network, net) = network();
    answer(&network, API, "HTTP/1.1 429 Slow down\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n");
    let reply = net.http().send(get(URL)).await.unwrap();
    assert_eq!(reply.retry_after(), Some(Duration::from_secs(10)));
    let error = reply.status_error("send");
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::RateLimited, Retry::After(Duration::from_secs(10)))
    );
}

fn upload(length: u64, chunks: usize, pause: Duration) -> Body {
    Body::from_stream(
        length,
        stream::iter(0..chunks).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok(Bytes::from_static(b"0123456789"))
        }),
    )
}

#[tokio::test(start_paused = true)]
async fn an_upload_may_take_long_as_long_as_it_moves() {
    let (network, net) = network();
    let seen = answer(&network, API, json("{}"));
    let request = http::Request::put(URL).body(upload(100, 10, Duration::from_secs(20))).unwrap();
    let started = Instant::now();
    assert_eq!(net.http().send(request).await.unwrap().status, 200);
    assert_eq!(started.elapsed(), Duration::from_secs(200));
    let request = seen.lock().unwrap().remove(0);
    assert!(request.contains("content-length: 100\r\n"), "{request}");
    assert!(request.ends_with(&"0123456789".repeat(10)));
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_another_length_or_a_failing_source_is_never_complete() {
    for body in [
        upload(101, 10, Duration::ZERO),
        upload(99, 10, Duration::ZERO),
        Body::from_stream(100, stream::iter([Ok(Bytes::from_static(b"01")), Err(io::Error::other("disk"))])),
    ] {
        let (network, net) = network();
        let seen = answer(&network, API, json("{}"));
        let error = net.http().send(http::Request::put(URL).body(body).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Io, "{error:?}");
        tokio::task::yield_now().await;
        assert!(seen.lock().unwrap().is_empty(), "the server has no complete request");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_into_the_void_times_out() {
    let network = MemoryNetwork::with_pipe_size(64);
    let http = client(&network, &NetConfig::default());
    let _listener = network.listen(API);
    let request = http::Request::put(URL).body(upload(1000, 100, Duration::ZERO)).unwrap();
    let error = http.send(request).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (&ErrorKind::Timeout, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_download_streams_and_only_silence_ends_it() {
    let (network, net) = network();
    let mut listener = network.listen(API);
    tokio::spawn(async move {
        for last in [10, 9] {
            let mut stream = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await.unwrap();
            for _ in 0..last {
                tokio::time::sleep(Duration::from_secs(10)).await;
                stream.write_all(b"x").await.unwrap();
            }
            let _ = stream.read(&mut [0]).await;
        }
    });
    let download = net.http().download(get(URL), 1 << 30).await.unwrap();
    assert_eq!(download.length(), Some(10));
    let started = Instant::now();
    let whole: Vec<Bytes> = download.try_collect().await.unwrap();
    assert_eq!(whole.concat(), b"xxxxxxxxxx");
    assert_eq!(started.elapsed(), Duration::from_secs(100), "longer than a request may take");

    let mut download = net.http().download(get(URL), 1 << 30).await.unwrap();
    for _ in 0..9 {
        download.next().await.unwrap().unwrap();
    }
    assert_eq!(download.next().await.unwrap().unwrap_err().kind(), &ErrorKind::Timeout);
    assert!(download.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_download_is_capped_complete_and_successful() {
    let (network, net) = network();
    answer(&network, API, json("123456789"));
    assert_eq!(net.http().download(get(URL), 8).await.unwrap_err().kind(), &ErrorKind::UnexpectedResponse);
    answer(&network, API, "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(net.http().download(get(URL), 8).await.unwrap_err().kind(), &ErrorKind::AccessDenied);
    answer(&network, API, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
    let chunks: Vec<_> = net.http().download(get(URL), 10).await.unwrap().collect().await;
    assert_eq!(chunks.last().unwrap().as_ref().unwrap_err().kind(), &ErrorKind::Network);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_given_whatever_the_status_and_read_up_to_a_limit() {
    let (network, net) = network();
    const NO: &str = "HTTP/1.1 400 No\r\ncontent-length: 5\r\n\r\nwhy: ";
    answer(&network, API, NO);
    let answer_400 = net.http().stream(get(URL), 10).await.unwrap();
    assert_eq!(answer_400.status().as_u16(), 400);
    let reply = answer_400.read(5).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (400, &b"why: "[..]));
    answer(&network, API, NO);
    let more = net.http().stream(get(URL), 10).await.unwrap().read(4).await.unwrap_err();
    assert_eq!(more.kind(), &ErrorKind::UnexpectedResponse);
    answer(&network, API, "HTTP/1.1 400 No\r\ncontent-length: 10\r\n\r\n12345");
    let cut = net.http().stream(get(URL), 10).await.unwrap().read(10).await.unwrap_err();
    assert_eq!(cut.kind(), &ErrorKind::Network);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_closes_its_connection() {
    let (network, net) = network();
    let mut listener = network.listen(API);
    let call = net.http().send(get(URL));
    let mut stream = {
        let mut call = std::pin::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("there is no answer"),
            stream = listener.accept() => stream.unwrap(),
        }
    };
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cookies_belong_to_a_jar_and_a_jar_to_a_session() {
    let (network, net) = network();
    let seen = answer(
        &network,
        API,
        "HTTP/1.1 200 OK\r\nset-cookie: route=node7; Path=/; Secure\r\ncontent-length: 0\r\n\r\n",
    );
    let (mine, yours) = (CookieJar::new(), CookieJar::new());
    for jar in [Some(&mine), Some(&mine), Some(&yours), None] {
        let mut request = get(URL);
        if let Some(jar) = jar {
            request.extensions_mut().insert(jar.clone());
        }
        net.http().send(request).await.unwrap();
    }
    let pinned: Vec<bool> =
        seen.lock().unwrap().iter().map(|request| request.contains("cookie: route=node7")).collect();
    assert_eq!(pinned, [false, true, false, false]);
    assert!(mine.header_for(&"wss://api.example.org/ws".parse().unwrap()).is_some());
    assert!(mine.header_for(&"https://evil.org/".parse().unwrap()).is_none());
    assert!(!format!("{mine:?}").contains("node7"));
}

#[tokio::test(start_paused = true)]
async fn layers_of_the_user_stand_outside_the_built_in_ones() {
    let network = MemoryNetwork::new();
    let seen = answer(&network, API, json("{}"));
    let http = HttpClient::builder(&NetConfig::default())
        .memory(&network)
        .layer(tower::util::MapRequestLayer::new(|mut request: http::Request<Body>| {
            if request.uri().path() == "/evil" {
                *request.uri_mut() = "https://169.254.169.254/".parse().unwrap();
            }
            request.headers_mut().insert("x-trace", "7".parse().unwrap());
            request
        }))
        .build()
        .unwrap();
    http.send(get(URL)).await.unwrap();
    assert!(seen.lock().unwrap()[0].contains("x-trace: 7"));
    let error = http.send(get("https://api.example.org/evil")).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::HostRefused);
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_felt_in_each_direction() {
    let (network, net) = network();
    answer(&network, API, json("{}"));
    network.delay(Duration::from_millis(100));
    let started = Instant::now();
    net.http().send(get(URL)).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_millis(200));
}
