//! Paging, both ways, over every kind of centre that has it.

use std::time::Duration;

use chat_core::{Cursor, Direction, ErrorKind, HistoryFrom, Sighting};
use chat_sim::{Centre, Profile};

use super::{Chat, centre_of, chat, page_texts};

/// All items, page by page, and how many pages it took.
async fn walk(chat: &Chat, direction: Direction, from: HistoryFrom, limit: u32) -> (Vec<Sighting>, usize) {
    let mut items = Vec::new();
    let mut from = from;
    for pages in 1.. {
        assert!(pages < 1_000, "paging ends");
        let page = chat.page(direction, from, limit).await.unwrap();
        match direction {
            Direction::Older => drop(items.splice(0..0, page.items)),
            Direction::Newer => items.extend(page.items),
        }
        match page.next {
            Some(next) => from = HistoryFrom::Cursor(next),
            None => return (items, pages),
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn both_ways_and_every_page_size_bring_everything_once() {
    for order in [chat_sim::Order::Instant, chat_sim::Order::Index] {
        for (inclusive, empty) in [(false, false), (true, false), (false, true), (true, true)] {
            let chat = chat(centre_of(Profile::push().tuned(|profile| {
                profile.order = order;
                profile.history_inclusive = inclusive;
                profile.empty_pages = empty;
            })))
            .await;
            chat.agent.say_many(21).unwrap();
            let truth = chat.agent.sightings();
            for limit in [1, 2, 5, 22, 23, 24, 100] {
                for (direction, from) in
                    [(Direction::Older, HistoryFrom::Newest), (Direction::Newer, HistoryFrom::Oldest)]
                {
                    let (mut items, _) = walk(&chat, direction, from, limit).await;
                    // Inclusive pages overlap by one item.
                    items.dedup();
                    assert_eq!(items, truth, "{order:?} {inclusive} {empty} {direction:?} {limit}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_is_no_larger_than_asked_for_and_than_the_limit() {
    let chat = chat(centre_of(Profile::small_limits())).await;
    chat.agent.say_many(12).unwrap();
    let page = chat.page(Direction::Older, HistoryFrom::Newest, 100).await.unwrap();
    assert_eq!(page_texts(&page), ["message 8", "message 9", "message 10", "message 11", "message 12"]);
    assert_eq!(chat.page(Direction::Older, HistoryFrom::Newest, 2).await.unwrap().items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_page_starts_at_a_message_with_or_without_it() {
    for (inclusive, older, newer) in [
        (false, ["message 1", "message 2"], ["message 4", "message 5"]),
        (true, ["message 2", "message 3"], ["message 3", "message 4"]),
    ] {
        let chat =
            chat(centre_of(Profile::push().tuned(|profile| profile.history_inclusive = inclusive))).await;
        let ids = chat.agent.say_many(5).unwrap();
        let at = || HistoryFrom::Message(ids[2].clone());
        assert_eq!(page_texts(&chat.page(Direction::Older, at(), 2).await.unwrap()), older);
        assert_eq!(page_texts(&chat.page(Direction::Newer, at(), 2).await.unwrap()), newer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_starts_at_an_instant() {
    let chat = chat(Centre::new()).await;
    chat.agent.say("before").unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    chat.agent.say("at").unwrap();
    let at = chat.agent.truth().newest().unwrap().time;
    tokio::time::advance(Duration::from_secs(10)).await;
    chat.agent.say("after").unwrap();
    let older = chat.page(Direction::Older, HistoryFrom::Time(at), 2).await.unwrap();
    assert_eq!(page_texts(&older), ["before", "at"]);
    let newer = chat.page(Direction::Newer, HistoryFrom::Time(at), 9).await.unwrap();
    assert_eq!(page_texts(&newer), ["at", "after"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_gone_or_foreign_or_senseless_is_refused() {
    let chat =
        chat(centre_of(Profile::push().tuned(|p| p.cursor_valid_for = Some(Duration::from_secs(60))))).await;
    let ids = chat.agent.say_many(9).unwrap();
    let page = chat.page(Direction::Older, HistoryFrom::Newest, 3).await.unwrap();
    let cursor = page.next.unwrap();
    chat.agent.prune(4);
    let kind = async |direction, from| chat.page(direction, from, 3).await.unwrap_err().kind().clone();
    assert_eq!(kind(Direction::Older, HistoryFrom::Message(ids[0].clone())).await, ErrorKind::NotFound);
    assert_eq!(kind(Direction::Newer, HistoryFrom::Cursor(cursor.clone())).await, ErrorKind::InvalidInput);
    let forged = HistoryFrom::Cursor(Cursor("o.1.x".into()));
    assert_eq!(kind(Direction::Older, forged).await, ErrorKind::InvalidInput);
    assert_eq!(kind(Direction::Older, HistoryFrom::Oldest).await, ErrorKind::InvalidInput);
    assert_eq!(kind(Direction::Newer, HistoryFrom::Newest).await, ErrorKind::InvalidInput);
    let rest = chat.page(Direction::Older, HistoryFrom::Cursor(cursor.clone()), 3).await.unwrap();
    assert_eq!((page_texts(&rest), rest.next), (vec!["message 6".to_owned()], None), "what is left");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(kind(Direction::Older, HistoryFrom::Cursor(cursor)).await, ErrorKind::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_cursor_brings_the_same_page_for_ever() {
    let chat = chat(centre_of(Profile::push().tuned(|profile| profile.stuck_cursor = true))).await;
    chat.agent.say_many(20).unwrap();
    let first = chat.page(Direction::Older, HistoryFrom::Newest, 5).await.unwrap();
    let again = || HistoryFrom::Cursor(first.next.clone().unwrap());
    let second = chat.page(Direction::Older, again(), 5).await.unwrap();
    assert_eq!(second.next, first.next);
    assert_eq!(chat.page(Direction::Older, again(), 5).await.unwrap(), second);
}

#[tokio::test(start_paused = true)]
async fn receipts_and_pieces_are_in_the_history() {
    let chat = chat(Centre::new()).await;
    let own = chat.say("t", "hello").await.unwrap().unwrap();
    chat.agent.reads(&own).unwrap();
    chat.agent.as_bot("Bot").begin_stream("part").unwrap();
    let page = chat.page(Direction::Older, HistoryFrom::Newest, 9).await.unwrap();
    let read = page.items.iter().find(|item| item.aliases.message_id().as_ref() == Some(&own)).unwrap();
    assert!(read.receipts[0].read.is_some());
    assert_eq!(page.items.last().unwrap().chunk, Some(chat_core::Chunk::Part(1)));
}
