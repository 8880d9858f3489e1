//! What is counted: names and labels are what dashboards are built on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use chat_net::http::Operation;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};

use crate::server::{URL, answer, get, json, network};

#[derive(Default)]
struct Recorded(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

struct Samples(Arc<AtomicU64>);

impl HistogramFn for Samples {
    fn record(&self, seconds: f64) {
        assert!((0.0..60.0).contains(&seconds));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorded {
    fn slot(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.slot(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Samples(self.slot(key))))
    }
}

#[tokio::test(start_paused = true)]
async fn calls_failures_and_durations_are_counted_by_operation() {
    let recorded = Recorded::default();
    let _guard = set_default_local_recorder(&recorded);
    let (network, net) = network();
    let call = || {
        let mut request = get(URL);
        request.extensions_mut().insert(Operation("poll"));
        request
    };
    net.http().send(call()).await.unwrap_err();
    answer(&network, "api.example.org:443", json("{}"));
    net.http().send(call()).await.unwrap();
    net.http().send(call()).await.unwrap();
    answer(&network, "api.example.org:443", "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n");
    net.http().send(get(URL)).await.unwrap();
    let counted: Vec<_> = recorded
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(name, count)| format!("{name} {}", count.load(Ordering::Relaxed)))
        .collect();
    assert_eq!(
        counted,
        [
            "chat_net_request_failures_total{operation=poll,kind=network} 1",
            "chat_net_request_seconds{operation=other} 1",
            "chat_net_request_seconds{operation=poll} 3",
            "chat_net_requests_total{operation=other,outcome=client_error} 1",
            "chat_net_requests_total{operation=poll,outcome=failure} 1",
            "chat_net_requests_total{operation=poll,outcome=success} 2",
        ]
    );
}
