//! Owns reading a session: its events, in order, to a watcher, with the transcript that they make.

use std::time::Duration;

use chat_core::{ChatEvent, Events, Mirror};
use tokio::time::timeout;

use crate::{
    failure::{Context, Result},
    render::SharedWatcher,
};

/// A burst is over when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(150);

/// Reads to the end. `heard` learns of each event after the watcher.
pub(crate) async fn read(
    mut events: Events,
    watcher: &SharedWatcher,
    mut heard: impl FnMut(&ChatEvent, &Mirror),
) -> Result<()> {
    let mut transcript = Mirror::new();
    loop {
        let Ok(next) = timeout(QUIET, events.next()).await else {
            watcher.lock().quiet()?;
            continue;
        };
        let Some(event) = next else { return watcher.lock().quiet() };
        match &event {
            ChatEvent::Transcript(diff) => transcript.apply(diff).context("the session's events")?,
            ChatEvent::Missed { snapshot, .. } => transcript.reset(snapshot),
            _ => {}
        }
        watcher.lock().event(&event)?;
        heard(&event, &transcript);
    }
}
