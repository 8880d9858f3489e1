//! A bot that answers frequent questions: a session whose other side is a person. It ends by itself.
#![allow(clippy::print_stdout, reason = "it shows something")]

use chat_transport::{
    ChatEvent, ChatSession, Content, Diff, Role, Row, StartRequest,
    sim::{Centre, Script, Step},
};

/// A word of the question, and the answer.
const ANSWERS: [(&str, &str); 3] = [
    ("open", "We are open from 9 to 18, Monday to Friday."),
    ("refund", "Refunds take three working days."),
    ("human", "A colleague will call you back today."),
];

/// What the bot says to a question, or to anything else.
fn answer(question: &str) -> &'static str {
    let question = question.to_lowercase();
    let known = ANSWERS.iter().find(|(word, _)| question.contains(word));
    known.map_or("I do not know. Ask me about opening hours, refunds or a human.", |(_, answer)| answer)
}

/// The text of a message that somebody else sent.
fn question(row: &Row) -> Option<&str> {
    match row.content() {
        Some(Content::Text(text)) if !row.is_own() => Some(&text.body),
        _ => None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = ChatSession::builder(visitors().transport()).start(StartRequest::named("FAQ bot")).await?;
    let mut events = session.events();
    let mut first = true;
    while let Some(event) = events.next().await {
        let said = match event {
            // What was said before we listened is the first event, if there is anything.
            ChatEvent::Transcript(diff) if first => match &*diff {
                Diff::Reset(rows) => rows.to_vec(),
                _ => Vec::new(),
            },
            // Each message comes here once, however often the connection is lost and what was missed is fetched.
            ChatEvent::Messages(batch) => batch.messages.clone(),
            ChatEvent::Error(error) => {
                println!("-- {error}");
                Vec::new()
            }
            _ => Vec::new(),
        };
        first = false;
        for question in said.iter().filter_map(|row| question(row)) {
            session.typing(true)?;
            session.send_text(answer(question))?.await?;
        }
    }
    print!("{}", session.export_text());
    Ok(())
}

/// A centre in which somebody asks three questions and goes.
fn visitors() -> Centre {
    let ask = |question: &str| [Step::Say(question.into()), Step::WaitForCustomer];
    let mut steps = vec![Step::Join { name: "Eve".into(), role: Role::External }];
    for question in ["When do you open?", "How long does a refund take?", "What is the meaning of life?"] {
        steps.extend(ask(question));
    }
    steps.push(Step::End);
    Centre::builder().script(Script::new(steps)).build()
}
