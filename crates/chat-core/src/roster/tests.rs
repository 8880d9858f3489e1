use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_millis(seconds * 1_000)
}

fn agent(id: &str) -> Participant {
    Participant::new(Role::Agent).with_id(id).with_name(format!("Agent {id}"))
}

fn fact(who: Participant, event: impl Into<Option<SystemEvent>>, seconds: i64) -> RosterFact {
    RosterFact { who, event: event.into(), time: at(seconds) }
}

fn names(events: &[RosterEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let (what, member) = match event {
                RosterEvent::Joined(member) => ("joined", member),
                RosterEvent::Left(member) => ("left", member),
                RosterEvent::AutoDisconnected(member) => ("removed", member),
                RosterEvent::Invited(member) => ("invited", member),
                RosterEvent::Idle(member) => ("idle", member),
                RosterEvent::Inactive(member) => ("inactive", member),
                RosterEvent::Returned(member) => ("returned", member),
                RosterEvent::Renamed(member) => ("renamed", member),
            };
            format!("{what} {}", member.who.name.as_deref().unwrap_or("?"))
        })
        .collect()
}

#[test]
fn joining_and_leaving_is_told_once() {
    let mut roster = Roster::new();
    assert_eq!(names(&roster.set(1, fact(agent("a"), SystemEvent::Joined, 1))), ["joined Agent a"]);
    assert_eq!(roster.set(2, fact(agent("a"), SystemEvent::Joined, 2)), [], "the same state again");
    assert_eq!(roster.set(3, fact(agent("a"), None, 3)), []);
    assert_eq!(roster.agents_connected(), 1);
    assert_eq!(names(&roster.set(4, fact(agent("a"), SystemEvent::Idle, 4))), ["idle Agent a"]);
    assert_eq!(names(&roster.set(5, fact(agent("a"), SystemEvent::Returned, 5))), ["returned Agent a"]);
    assert_eq!(names(&roster.set(6, fact(agent("a"), SystemEvent::Left, 6))), ["left Agent a"]);
    assert_eq!(roster.set(7, fact(agent("a"), SystemEvent::Left, 7)), []);
    assert_eq!(roster.agents_connected(), 0);
    let member = &roster.members()[0];
    assert_eq!((member.joined_at, member.left_at), (at(1), at(6)));
}

#[test]
fn facts_count_in_the_order_of_the_transcript_not_of_arrival() {
    let mut roster = Roster::new();
    roster.set(9, fact(agent("a"), SystemEvent::Left, 9));
    assert_eq!(roster.set(3, fact(agent("a"), SystemEvent::Joined, 3)), [], "has left already");
    assert_eq!(roster.agents_connected(), 0);
    assert_eq!(roster.members()[0].joined_at, at(3));
    assert_eq!(names(&roster.remove(&9)), ["joined Agent a"]);
}

#[test]
fn who_speaks_is_there_but_the_system_is_not() {
    let mut roster = Roster::new();
    assert_eq!(names(&roster.set(1, fact(agent("a"), None, 1))), ["joined Agent a"]);
    assert_eq!(roster.set(2, fact(Participant::new(Role::System), None, 1)), []);
    roster.set(3, fact(agent("a"), SystemEvent::Left, 3));
    assert_eq!(roster.set(4, fact(agent("a"), None, 4)), [], "a late message brings nobody back");
    assert_eq!(roster.agents_connected(), 0);
}

#[test]
fn bots_are_no_agents_and_supervisors_are_flagged() {
    let mut roster = Roster::new();
    let bot = Participant::new(Role::Bot).with_id("b");
    let supervisor = Participant::new(Role::Supervisor).with_id("s").with_name("Sue");
    roster.set(1, fact(bot, SystemEvent::Joined, 1));
    roster.set(2, fact(agent("a"), SystemEvent::Joined, 2));
    roster.set(3, fact(supervisor, SystemEvent::Joined, 3));
    assert_eq!(roster.agents_connected(), 2);
    let flags: Vec<_> = roster.stats().agents.iter().map(Member::is_supervisor).collect();
    assert_eq!(flags, [false, true]);
}

#[test]
fn the_end_takes_everybody_and_gives_the_duration() {
    let mut roster = Roster::new();
    roster.set(1, fact(agent("a"), SystemEvent::Joined, 10));
    assert_eq!(roster.stats().duration, Some(Duration::ZERO));
    roster.set(2, fact(agent("a"), None, 40));
    assert_eq!(roster.stats().duration, Some(Duration::from_secs(30)));
    let events = roster.set(3, fact(Participant::new(Role::System), SystemEvent::Ended, 70));
    assert_eq!(names(&events), ["left Agent a"]);
    let stats = roster.stats();
    assert_eq!((stats.started_at, stats.ended_at), (at(10), at(70)));
    assert_eq!(stats.duration, Some(Duration::from_secs(60)));
    assert_eq!(stats.agents[0].left_at, at(70));
    roster.set(4, fact(agent("b"), SystemEvent::Joined, 100));
    assert_eq!(roster.stats().ended_at, None, "it goes on in a further segment");
}

#[test]
fn an_end_without_an_item_ends_with_the_newest() {
    let mut roster = Roster::new();
    roster.set(1, fact(agent("a"), SystemEvent::Joined, 10));
    roster.set(2, fact(agent("a"), None, 20));
    roster.set(3, fact(agent("a"), None, 30));
    assert_eq!(names(&roster.end()), ["left Agent a"]);
    assert_eq!(roster.stats().ended_at, at(30));
    assert_eq!(roster.stats().duration, Some(Duration::from_secs(20)));
    assert_eq!(roster.end(), []);
}

#[test]
fn an_update_beside_the_transcript_counts_unless_an_item_is_newer() {
    let update = |event, seconds| ParticipantUpdate { who: agent("a"), event, time: at(seconds) };
    let mut roster = Roster::new();
    roster.set(1, fact(agent("a"), SystemEvent::Joined, 1));
    assert_eq!(names(&roster.update(&update(SystemEvent::Idle, 5))), ["idle Agent a"]);
    assert_eq!(roster.update(&update(SystemEvent::Idle, 6)), []);
    assert_eq!(names(&roster.set(2, fact(agent("a"), SystemEvent::Left, 8))), ["left Agent a"]);
    assert_eq!(roster.update(&update(SystemEvent::Active, 7)), []);
    let renamed =
        ParticipantUpdate { who: agent("b").with_name("Bea"), event: SystemEvent::NameUpdated, time: at(12) };
    roster.set(3, fact(agent("b"), SystemEvent::Joined, 11));
    assert_eq!(names(&roster.update(&renamed)), ["renamed Bea"]);
}

fn any_fact() -> impl Strategy<Value = RosterFact> {
    let event = prop_oneof![
        3 => Just(None),
        3 => Just(Some(SystemEvent::Joined)),
        2 => Just(Some(SystemEvent::Left)),
        1 => Just(Some(SystemEvent::Idle)),
        1 => Just(Some(SystemEvent::Invited)),
        1 => Just(Some(SystemEvent::NameUpdated)),
        1 => Just(Some(SystemEvent::Ended)),
    ];
    let who = prop_oneof![Just(agent("a")), Just(agent("b")), Just(agent("a").with_name("Al"))];
    (who, event, 0..50i64).prop_map(|(who, event, seconds)| fact(who, event, seconds))
}

proptest! {
    /// Whatever the order of arrival, a reader that kept up has the roster of one that starts from the snapshot, and its
    /// events have told it who is there.
    #[test]
    fn a_rebuilt_roster_is_the_same(facts in prop::collection::vec(any_fact(), 0..12), order in any::<u64>()) {
        let mut shuffled: Vec<_> = facts.iter().cloned().enumerate().collect();
        fastrand::Rng::with_seed(order).shuffle(&mut shuffled);
        let mut kept_up = Roster::new();
        let mut there = std::collections::BTreeSet::new();
        for (place, fact) in shuffled {
            for event in kept_up.set(place, fact) {
                match event {
                    RosterEvent::Joined(member) => prop_assert!(there.insert(member.who.id)),
                    RosterEvent::Left(member) => prop_assert!(there.remove(&member.who.id)),
                    _ => {}
                }
            }
        }
        let mut rebuilt = Roster::new();
        rebuilt.reset(facts.into_iter().enumerate());
        prop_assert_eq!(kept_up.members(), rebuilt.members());
        prop_assert_eq!(kept_up.stats(), rebuilt.stats());
        let members = rebuilt.members().iter();
        let expected: std::collections::BTreeSet<_> =
            members.filter(|member| member.connected()).map(|member| member.who.id.clone()).collect();
        prop_assert_eq!(there, expected);
    }
}
