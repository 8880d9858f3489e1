//! Owns scripts: what happens in a chat, as data.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chat_core::{Error, Interactive, Result, Role, SystemEvent};
use serde::{Deserialize, Serialize};

use crate::{
    centre::{Centre, Inner},
    console::ContactConsole,
};

/// What happens in each chat, step by step, from its start. It stops when the chat ends.
///
/// ```
/// use chat_sim::Script;
///
/// let script = Script::from_json(
///     r#"[{"queue": 1}, {"wait": 500}, {"join": {"name": "Maria"}}, {"say": "How can I help?"},
///         "wait_for_customer", {"type": true}, {"answer": "You said: "}, "end"]"#,
/// )?;
/// assert_eq!(script.steps.len(), 8);
/// # Ok::<(), chat_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Script {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step. Those that say something do so as whoever joined last, or as an agent called "Agent".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Somebody joins, and acts from here on.
    Join {
        /// The name.
        name: Arc<str>,
        /// The role.
        #[serde(default = "agent")]
        role: Role,
    },
    /// Leaves.
    Leave,
    /// Hands over to the agent of this name, who acts from here on.
    Transfer(Arc<str>),
    /// Hands over, in vain.
    TransferFails,
    /// Ends the chat.
    End,
    /// Says a text.
    Say(Arc<str>),
    /// Says `message 1` to this one at once.
    Burst(usize),
    /// Repeats what the customer said last, behind this text.
    Answer(Arc<str>),
    /// Types, or stops.
    Type(bool),
    /// Waits for so many milliseconds.
    Wait(u64),
    /// Waits until the customer has said something that was not waited for before.
    WaitForCustomer,
    /// Sends a file.
    SendFile {
        /// Its name.
        name: Arc<str>,
        /// MIME type.
        content_type: Arc<str>,
        /// What it holds.
        text: Arc<str>,
    },
    /// Streams an answer.
    Stream {
        /// Its pieces.
        pieces: Vec<Arc<str>>,
        /// Milliseconds between them.
        #[serde(default)]
        every: u64,
    },
    /// Goes idle.
    Idle,
    /// Returns from idling.
    Return,
    /// Has read what the customer said last.
    Read,
    /// Any system event as an item.
    Event(SystemEvent),
    /// A custom notice.
    Notice(Arc<str>),
    /// Pushes a URL.
    PushUrl(Arc<str>),
    /// Asks with choices.
    Ask(Interactive),
    /// Tells the position in the queue.
    Queue(u32),
    /// Does these steps so many times; 0 for as long as the chat lasts.
    Repeat {
        /// How many times.
        times: u32,
        /// The steps.
        steps: Vec<Self>,
    },
}

const fn agent() -> Role {
    Role::Agent
}

impl Script {
    /// A script of these steps.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect() }
    }

    /// Reads a JSON list of steps.
    ///
    /// # Errors
    /// `InvalidInput` with the place and the reason.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::invalid_input(format!("a script: {error}")))
    }

    /// A conversation to look at: a bot welcomes, the queue moves, an agent joins and answers each message.
    pub fn demo() -> Self {
        Self::new([
            Step::Join { name: "Bot".into(), role: Role::Bot },
            Step::Say("Welcome! An agent will be with you in a moment.".into()),
            Step::Queue(2),
            Step::Wait(1_000),
            Step::Queue(1),
            Step::Wait(1_000),
            Step::Leave,
            Step::Join { name: "Maria".into(), role: Role::Agent },
            Step::Say("Hello, this is Maria. How can I help?".into()),
            Step::Repeat {
                times: 0,
                steps: vec![
                    Step::WaitForCustomer,
                    Step::Read,
                    Step::Type(true),
                    Step::Wait(800),
                    Step::Answer("I see: ".into()),
                ],
            },
        ])
    }
}

/// Runs the centre's script in one contact, until it is done, the chat ends or the centre is gone.
pub(crate) async fn run(centre: Weak<Inner>, contact: usize) {
    let Some(script) = centre.upgrade().map(|centre| Arc::clone(&centre.script)) else { return };
    let mut actor = Actor { centre, contact, role: Role::Agent, name: "Agent".into(), heard: 0 };
    // The chat ended or the centre is gone: either way there is nobody to tell.
    let _ = actor.play(&script.steps).await;
}

struct Actor {
    centre: Weak<Inner>,
    contact: usize,
    role: Role,
    name: Arc<str>,
    /// Texts of the customer that were waited for.
    heard: usize,
}

/// The chat or the centre is gone.
struct Over;

impl From<Error> for Over {
    fn from(_: Error) -> Self {
        Self
    }
}

impl Actor {
    /// The console as the one who acts; never held across a wait, or the centre would live as long as its script.
    fn console(&self) -> Result<ContactConsole, Over> {
        let centre = Centre { inner: self.centre.upgrade().ok_or(Over)? };
        let console = ContactConsole::new(centre, self.contact);
        Ok(console.acting_as(self.role.clone(), Arc::clone(&self.name)))
    }

    async fn play(&mut self, steps: &[Step]) -> Result<(), Over> {
        for step in steps {
            match step {
                Step::Repeat { times, steps } => {
                    let mut done = 0;
                    while *times == 0 || done < *times {
                        Box::pin(self.play(steps)).await?;
                        done = done.wrapping_add(1);
                        // A loop without a wait must not hold the thread.
                        tokio::task::yield_now().await;
                    }
                }
                Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
                Step::WaitForCustomer => self.wait_for_customer().await?,
                Step::Stream { pieces, every } => self.stream(pieces, *every).await?,
                step => self.step(step)?,
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Over> {
        match step {
            Step::Join { name, role } => {
                self.name = Arc::clone(name);
                self.role = role.clone();
                self.console()?.join()?;
            }
            Step::Transfer(to) => {
                self.console()?.transfer(Arc::clone(to))?;
                self.name = Arc::clone(to);
                self.role = Role::Agent;
            }
            Step::Answer(prefix) => {
                let console = self.console()?;
                let truth = console.truth();
                let last = truth.own_texts().last().copied().unwrap_or_default();
                console.say(format!("{prefix}{last}"))?;
            }
            Step::Read => {
                let console = self.console()?;
                let last = console.truth().items.into_iter().rfind(|item| item.own && item.text().is_some());
                if let Some(last) = last {
                    console.reads(&last.id)?;
                }
            }
            step => self.simple(step)?,
        }
        Ok(())
    }

    fn simple(&self, step: &Step) -> Result<(), Over> {
        let console = self.console()?;
        match step {
            Step::Leave => drop(console.leave()?),
            Step::TransferFails => drop(console.transfer_fails()?),
            Step::End => console.end()?,
            Step::Say(text) => drop(console.say(Arc::clone(text))?),
            Step::Burst(count) => drop(console.say_many(*count)?),
            Step::Type(on) => console.types(*on)?,
            Step::SendFile { name, content_type, text } => {
                let bytes = text.as_bytes().to_vec();
                console.send_file(Arc::clone(name), Arc::clone(content_type), bytes)?;
            }
            Step::Idle => drop(console.go_idle()?),
            Step::Return => drop(console.come_back()?),
            Step::Event(event) => drop(console.event(event.clone())?),
            Step::Notice(notice) => drop(console.notice(Arc::clone(notice))?),
            Step::PushUrl(url) => drop(console.push_url(Arc::clone(url))?),
            Step::Ask(question) => drop(console.ask(question.clone())?),
            Step::Queue(position) => console.queue(Some(*position))?,
            _ => {}
        }
        Ok(())
    }

    async fn stream(&self, pieces: &[Arc<str>], every: u64) -> Result<(), Over> {
        let Some((first, rest)) = pieces.split_first() else { return Ok(()) };
        let id = self.console()?.begin_stream(Arc::clone(first))?;
        for piece in rest {
            tokio::time::sleep(Duration::from_millis(every)).await;
            self.console()?.stream_piece(&id, Arc::clone(piece))?;
        }
        tokio::time::sleep(Duration::from_millis(every)).await;
        self.console()?.finish_stream(&id, pieces.concat())?;
        Ok(())
    }

    async fn wait_for_customer(&mut self) -> Result<(), Over> {
        let mut changes = self.centre.upgrade().ok_or(Over)?.changed.subscribe();
        loop {
            changes.mark_unchanged();
            let (said, ended) = self.centre.upgrade().ok_or(Over)?.quietly(|state| {
                let contact = &state.contacts[self.contact];
                (contact.said, contact.ended.is_some())
            });
            if said > self.heard {
                self.heard += 1;
                return Ok(());
            }
            if ended {
                return Err(Over);
            }
            changes.changed().await.map_err(|_| Over)?;
        }
    }
}
