//! The machine against what servers and networks may do.

use proptest::prelude::*;

use super::*;

fn machine(way: Way) -> Machine {
    Machine::new(way, Timings::default(), true)
}

fn now() -> Instant {
    // The machine only adds to it.
    Instant::now()
}

/// What the machine wants, with requests by id and channel.
fn drain(machine: &mut Machine) -> Vec<Output> {
    std::iter::from_fn(|| machine.poll()).collect()
}

fn sent(outputs: &[Output]) -> Vec<&Request> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send(request) => Some(&**request),
            _ => None,
        })
        .collect()
}

fn only_sent(machine: &mut Machine) -> Request {
    let outputs = drain(machine);
    match <[Output; 1]>::try_from(outputs) {
        Ok([Output::Send(request)]) => *request,
        other => panic!("{other:?}"),
    }
}

fn answer(machine: &mut Machine, now: Instant, id: u64, body: &str) {
    let body = body.replace("ID", &id.to_string());
    machine.received(now, Some(id), message::decode(body.as_bytes()).unwrap());
}

const SHAKEN: &str = r#"[{"id":"ID","channel":"/meta/handshake","successful":true,"clientId":"c",
    "advice":{"reconnect":"retry","interval":0,"timeout":30000}}]"#;
const CONNECTED: &str = r#"[{"id":"ID","channel":"/meta/connect","successful":true}]"#;

/// A machine whose second connect, the first that is held, is out under the returned id.
fn connected(way: Way) -> (Machine, u64) {
    let mut machine = machine(way);
    machine.handshake(now());
    let id = only_sent(&mut machine).id;
    answer(&mut machine, now(), id, SHAKEN);
    let first = only_sent(&mut machine);
    assert_eq!(first.message.advice.and_then(|advice| advice.timeout), Some(0));
    answer(&mut machine, now(), first.id, CONNECTED);
    let outputs = drain(&mut machine);
    assert!(matches!(outputs.first(), Some(Output::Connected)));
    let held = sent(&outputs)[0];
    assert!(held.message.advice.is_none());
    assert_eq!(held.within, Duration::from_secs(40), "hold and margin");
    let id = held.id;
    (machine, id)
}

#[test]
fn acknowledgements_are_spoken_only_if_the_handshake_confirms_them() {
    let (machine, _) = connected(Way::LongPolling);
    assert_eq!(machine.session().unwrap().1, None);
    let mut machine = self::machine(Way::LongPolling);
    machine.handshake(now());
    let request = only_sent(&mut machine);
    assert_eq!(request.message.ack(), Some(Ack::Supported(true)));
    let confirmed = SHAKEN.replace(r#""clientId""#, r#""ext":{"ack":true},"clientId""#);
    answer(&mut machine, now(), request.id, &confirmed);
    let first = only_sent(&mut machine);
    assert_eq!(first.message.ack(), Some(Ack::Batch(-1)));
    let reply = r#"[{"id":"ID","channel":"/meta/connect","successful":true,"ext":{"ack":7}}]"#;
    answer(&mut machine, now(), first.id, reply);
    let outputs = drain(&mut machine);
    assert_eq!(sent(&outputs)[0].message.ack(), Some(Ack::Batch(7)));
}

#[test]
fn advice_is_followed() {
    let closed = |advice: &str, successful: bool| {
        let (mut machine, id) = connected(Way::LongPolling);
        let reply = format!(
            r#"[{{"id":"ID","channel":"/meta/connect","successful":{successful},"advice":{advice}}}]"#
        );
        answer(&mut machine, now(), id, &reply);
        match drain(&mut machine).pop() {
            Some(Output::Over(closed)) => closed,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(closed(r#"{"reconnect":"none"}"#, false), Closed::Refused(_)));
    assert!(matches!(closed(r#"{"reconnect":"none"}"#, true), Closed::Refused(_)));
    for successful in [false, true] {
        match closed(r#"{"reconnect":"handshake"}"#, successful) {
            Closed::Forgotten(error) => assert_eq!(error.kind(), &ErrorKind::SessionLost),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(closed(r#"{"reconnect":"retry"}"#, false), Closed::Unconnected(_)));
}

#[test]
fn an_interval_is_kept_until_another_is_advised() {
    let (mut machine, id) = connected(Way::LongPolling);
    let start = now();
    let shared = r#"[{"id":"ID","channel":"/meta/connect","successful":true,
        "advice":{"interval":2000,"multiple-clients":true}}]"#;
    answer(&mut machine, start, id, shared);
    assert!(sent(&drain(&mut machine)).is_empty());
    assert_eq!(machine.deadline(), Some(start + Duration::from_secs(2)));
    machine.timeout(start + Duration::from_secs(1));
    assert!(drain(&mut machine).is_empty(), "not yet");
    let later = start + Duration::from_secs(2);
    machine.timeout(later);
    let id = only_sent(&mut machine).id;
    answer(&mut machine, later, id, CONNECTED);
    assert_eq!(machine.deadline(), Some(later + Duration::from_secs(2)), "still");
}

#[test]
fn a_server_that_holds_nothing_is_not_asked_in_a_circle() {
    let (mut machine, mut id) = connected(Way::LongPolling);
    let start = now();
    for _ in 0..UNHELD + 1 {
        answer(&mut machine, start, id, CONNECTED);
        match sent(&drain(&mut machine)).first() {
            Some(next) => id = next.id,
            None => return assert_eq!(machine.deadline(), Some(start + HELD)),
        }
    }
    panic!("never paced");
}

#[test]
fn a_publish_is_answered_by_its_id_and_refused_by_number() {
    let publish = |reply: &str| {
        let (mut machine, _) = connected(Way::LongPolling);
        machine.publish(now(), "/service/x".into(), RawValue::from_string("{}".into()).unwrap());
        assert!(!machine.is_free());
        let id = only_sent(&mut machine).id;
        answer(&mut machine, now(), id, reply);
        drain(&mut machine)
    };
    let accepted = publish(
        r#"[{"channel":"/service/x","data":{"a":1}},{"id":"ID","channel":"/service/x","successful":true}]"#,
    );
    assert!(matches!(accepted[..], [Output::Deliver(_), Output::Answered(Ok(()))]), "{accepted:?}");
    match &publish(r#"[{"id":"ID","channel":"/service/x","successful":false,"error":"403::no"}]"#)[..] {
        [Output::Answered(Err(error))] => {
            assert_eq!((error.kind(), error.delivery()), (&ErrorKind::AccessDenied, Delivery::Refused));
        }
        other => panic!("{other:?}"),
    }
    for spelling in ["402::Unknown client", "402::session_unknown"] {
        let reply = format!(r#"[{{"id":"ID","channel":"/x","successful":false,"error":"{spelling}"}}]"#);
        match &publish(&reply)[..] {
            [Output::Answered(Err(error)), Output::Over(Closed::Forgotten(_))] => {
                assert_eq!(error.delivery(), Delivery::NotSent);
            }
            other => panic!("{other:?}"),
        }
    }
    match &publish("[]")[..] {
        [Output::Answered(Err(error))] => {
            assert_eq!((error.kind(), error.delivery()), (&ErrorKind::UnexpectedResponse, Delivery::Unknown));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_failure_of_a_connect_that_nobody_waits_for_is_none() {
    let (mut machine, id) = connected(Way::LongPolling);
    answer(&mut machine, now(), id, CONNECTED);
    drain(&mut machine);
    machine.failed(Some(id), Error::new(ErrorKind::Server, "replaced"));
    assert!(drain(&mut machine).is_empty());
}

#[test]
fn a_socket_that_falls_silent_is_given_up() {
    let (mut machine, _) = connected(Way::WebSocket);
    let by = machine.deadline().unwrap();
    machine.timeout(by);
    match drain(&mut machine).pop() {
        Some(Output::Over(Closed::Unconnected(error))) => assert_eq!(error.kind(), &ErrorKind::Timeout),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_servers_goodbye_asks_for_a_new_session() {
    let (mut machine, _) = connected(Way::WebSocket);
    let text = r#"{"channel":"/meta/disconnect","successful":true}"#;
    machine.received(now(), None, message::decode(text.as_bytes()).unwrap());
    assert!(matches!(drain(&mut machine).pop(), Some(Output::Over(Closed::Forgotten(_)))));
}

/// What a server, and the network between, may do.
#[derive(Debug, Clone)]
enum Deed {
    /// Something is to be delivered.
    Deliver(u8),
    /// The connect is answered.
    Answer,
    /// The connect is answered, and the answer comes twice.
    AnswerTwice,
    /// The answer to a connect of before comes again.
    Repeat,
    /// The connect is answered with an interval.
    AnswerLater(u16),
    /// The connect is answered, and the answer is lost.
    Lose,
    /// The connect is cut before it arrives.
    Cut,
    /// The application publishes.
    Publish,
    /// The publish is answered.
    AnswerPublish,
    /// A reply to nothing.
    Stray(u8),
    /// Time passes.
    Wait(u16),
    /// The reader is slow, or quick again.
    Pause(bool),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (1_u8..4).prop_map(Deed::Deliver),
        6 => Just(Deed::Answer),
        1 => Just(Deed::AnswerTwice),
        1 => Just(Deed::Repeat),
        1 => (0_u16..3000).prop_map(Deed::AnswerLater),
        2 => Just(Deed::Lose),
        1 => Just(Deed::Cut),
        2 => Just(Deed::Publish),
        2 => Just(Deed::AnswerPublish),
        1 => any::<u8>().prop_map(Deed::Stray),
        2 => (0_u16..5000).prop_map(Deed::Wait),
        1 => any::<bool>().prop_map(Deed::Pause),
    ];
    proptest::collection::vec(deed, 0..120)
}

/// A server with the acknowledgement extension, and the wire to it.
struct World {
    machine: Machine,
    way: Way,
    now: Instant,
    /// Undelivered or unacknowledged: batch and number.
    queue: VecDeque<(Option<i64>, u64)>,
    batch: i64,
    delivered: u64,
    /// The connect that is out: id and what it acknowledges.
    connect: Option<(u64, i64)>,
    publish: Option<u64>,
    last_answer: Option<(u64, String)>,
    got: Vec<u64>,
}

impl World {
    fn new(way: Way) -> Self {
        let mut machine = machine(way);
        let now = now();
        machine.handshake(now);
        let mut world = Self {
            machine,
            way,
            now,
            queue: VecDeque::new(),
            batch: 0,
            delivered: 0,
            connect: None,
            publish: None,
            last_answer: None,
            got: Vec::new(),
        };
        let id = only_sent(&mut world.machine).id;
        let confirmed = SHAKEN.replace(r#""clientId""#, r#""ext":{"ack":true},"clientId""#);
        world.give(id, &confirmed.replace("ID", &id.to_string()));
        world
    }

    fn give(&mut self, id: u64, body: &str) {
        let exchange = (self.way == Way::LongPolling).then_some(id);
        self.machine.received(self.now, exchange, message::decode(body.as_bytes()).unwrap());
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(request) if request.message.channel == CONNECT => {
                    assert!(self.connect.is_none(), "two connects are out");
                    let Some(Ack::Batch(batch)) = request.message.ack() else { panic!("no ack") };
                    self.connect = Some((request.id, batch));
                }
                Output::Send(request) => self.publish = Some(request.id),
                Output::Deliver(incoming) => self.got.push(incoming.data.get().parse().unwrap()),
                Output::Answered(_) => self.publish = None,
                Output::Over(Closed::Unconnected(_)) => self.resume(),
                Output::Over(closed) => panic!("{closed:?}"),
                Output::Connected | Output::Alive => {}
            }
        }
    }

    /// The caller goes on with the same session.
    fn resume(&mut self) {
        let (client_id, ack) = self.machine.session().map(|(id, ack)| (id.clone(), ack)).unwrap();
        (self.connect, self.publish, self.last_answer) = (None, None, None);
        self.machine = machine(self.way);
        self.machine.resume(self.now, client_id, ack);
        self.obey();
    }

    /// The server's answer to the connect that is out.
    fn answer(&mut self, advice: &str) -> Option<(u64, String)> {
        let (id, received) = self.connect.take()?;
        self.queue.retain(|(batch, _)| batch.is_none_or(|batch| batch > received));
        self.batch += 1;
        let batch = self.batch;
        let mut body = String::from("[");
        for (sent, number) in &mut self.queue {
            *sent = Some(batch);
            body.push_str(&format!(r#"{{"channel":"/x","data":{number}}},"#));
        }
        body.push_str(&format!(
            r#"{{"id":"{id}","channel":"/meta/connect","successful":true,"ext":{{"ack":{batch}}}{advice}}}]"#
        ));
        Some((id, body))
    }

    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Deliver(count) => {
                for _ in 0..*count {
                    self.queue.push_back((None, self.delivered));
                    self.delivered += 1;
                }
            }
            Deed::Answer | Deed::AnswerTwice | Deed::AnswerLater(_) => {
                let advice = match deed {
                    Deed::AnswerLater(millis) => format!(r#","advice":{{"interval":{millis}}}"#),
                    _ => String::new(),
                };
                let Some((id, body)) = self.answer(&advice) else { return };
                self.give(id, &body);
                if matches!(deed, Deed::AnswerTwice) {
                    self.give(id, &body);
                }
                self.last_answer = Some((id, body));
            }
            Deed::Repeat => {
                if let Some((id, body)) = self.last_answer.clone() {
                    self.give(id, &body);
                }
            }
            Deed::Lose | Deed::Cut => {
                let Some((id, _)) = self.connect else { return };
                if matches!(deed, Deed::Lose) {
                    let _ = self.answer("");
                }
                self.machine.failed(Some(id), Error::new(ErrorKind::Network, "cut"));
                self.obey();
            }
            Deed::Publish if self.machine.is_free() => {
                let data = RawValue::from_string("{}".into()).unwrap();
                self.machine.publish(self.now, "/service/x".into(), data);
                self.obey();
            }
            Deed::AnswerPublish => {
                let Some(id) = self.publish.take() else { return };
                self.give(id, &format!(r#"[{{"id":"{id}","channel":"/service/x","successful":true}}]"#));
            }
            Deed::Stray(id) => {
                let text = format!(
                    r#"[{{"id":"s{id}","channel":"/service/x","successful":false,"error":"402::x"}}]"#
                );
                self.machine.received(self.now, None, message::decode(text.as_bytes()).unwrap());
                self.obey();
            }
            Deed::Wait(millis) => {
                let until = self.now + Duration::from_millis((*millis).into());
                while let Some(deadline) = self.machine.deadline().filter(|at| *at <= until) {
                    self.now = deadline;
                    self.machine.timeout(deadline);
                    self.obey();
                }
                self.now = until;
            }
            Deed::Pause(on) => {
                self.machine.pause(self.now, *on);
                self.obey();
            }
            Deed::Publish => {}
        }
    }
}

proptest! {
    #[test]
    fn one_connect_is_out_and_nothing_acknowledged_is_lost_or_doubled(
        polling in any::<bool>(),
        deeds in deeds(),
    ) {
        let mut world = World::new(if polling { Way::LongPolling } else { Way::WebSocket });
        for deed in &deeds {
            world.act(deed);
        }
        world.act(&Deed::Pause(false));
        for _ in 0..3 {
            world.act(&Deed::Wait(5000));
            prop_assert!(world.connect.is_some(), "a connect is out");
            world.act(&Deed::Answer);
        }
        prop_assert_eq!(world.got, (0..world.delivered).collect::<Vec<_>>());
    }
}
