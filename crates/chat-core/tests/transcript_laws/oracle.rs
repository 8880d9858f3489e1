//! Owns the naive model: it recomputes the whole transcript from the set of facts, in any number of passes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chat_core::{
    transcript::{Filter, GapId, LocalRow, Mark, Transcript},
    *,
};

/// One thing that a transcript may be told, in any order.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Sight(Sighting),
    Answered(Sighting),
    Segment(SegmentId, Option<Timestamp>),
    Own(ParticipantId),
    Local(LocalRow),
    State(Alias, SendState),
    Receipt(Alias, Receipt),
    /// Behind the place of this sighting, or at the start.
    Gap(GapId, Option<Sighting>),
    Close(GapId),
}

pub(crate) fn tell(transcript: &mut Transcript, fact: &Fact) -> Option<transcript::Change> {
    Some(match fact.clone() {
        Fact::Sight(sighting) => transcript.sight(sighting),
        Fact::Answered(sighting) => transcript.answered(sighting),
        Fact::Local(row) => transcript.local(row),
        Fact::State(token, state) => transcript.set_send_state(&token, state),
        Fact::Receipt(id, receipt) => transcript.receipt(&id, receipt),
        Fact::Gap(id, after) => transcript.gap(id, after.as_ref().and_then(Transcript::mark_of)),
        Fact::Close(id) => transcript.close_gap(&id),
        Fact::Segment(id, start) => {
            transcript.segment(&id, start);
            return None;
        }
        Fact::Own(id) => {
            transcript.own_participant(id);
            return None;
        }
    })
}

/// A row as the model sees it, and as a row of the transcript is turned into for comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    pub(crate) aliases: BTreeSet<Alias>,
    pub(crate) gap: Option<(GapId, bool)>,
    pub(crate) segment: Option<SegmentId>,
    pub(crate) place: Option<Place>,
    pub(crate) time: Option<(Timestamp, bool)>,
    pub(crate) from: Option<Participant>,
    pub(crate) own: bool,
    pub(crate) heard: bool,
    pub(crate) original: Option<Content>,
    pub(crate) content: Option<Content>,
    pub(crate) versions: BTreeMap<String, (u32, Option<Arc<str>>)>,
    pub(crate) receipts: BTreeSet<Receipt>,
    pub(crate) state: Option<SendState>,
    pub(crate) delivery: Option<DeliveryState>,
    pub(crate) processing: Option<Processing>,
    pub(crate) visibility: Visibility,
}

impl From<&Row> for Expected {
    fn from(row: &Row) -> Self {
        Self {
            aliases: row.aliases().iter().cloned().collect(),
            gap: row.gap().map(|gap| (gap.id().clone(), gap.is_closed())),
            segment: row.segment().cloned(),
            place: row.place(),
            time: row.time().map(|time| (time.at, time.estimated)),
            from: row.from().cloned(),
            own: row.is_own(),
            heard: row.is_heard(),
            original: row.original().cloned(),
            content: row.content().cloned(),
            versions: row
                .versions()
                .map(|version| (format!("{:?}", version.content), (version.version, version.raw.clone())))
                .collect(),
            receipts: row.receipts().iter().cloned().collect(),
            state: row.send_state(),
            delivery: row.delivery(),
            processing: row.processing(),
            visibility: row.visibility(),
        }
    }
}

/// What the model is told beside facts.
#[derive(Default)]
pub(crate) struct Setting {
    pub(crate) filters: Vec<Filter>,
    pub(crate) shouting: bool,
}

/// What the preprocessor of these tests does.
pub(crate) fn shout(content: &Content) -> Option<Content> {
    match content {
        Content::Text(text) => Some(Content::Text(Text::plain(text.body.to_uppercase()))),
        _ => None,
    }
}

/// One observation, whatever kind of fact it came by.
#[derive(Default, Clone)]
struct Seen {
    aliases: BTreeSet<Alias>,
    sighting: Option<Sighting>,
    local: Option<(u64, Content, Option<Timestamp>)>,
    own: Option<bool>,
    heard: bool,
    quiet: bool,
    state: Option<SendState>,
    receipts: Vec<Receipt>,
}

/// What an item without an id is known by.
type Print = (Option<Face>, Option<(SegmentId, Primary)>, Option<u32>);
type Sender = Result<ParticipantId, (Role, Option<Arc<str>>)>;
type Face = (Option<Timestamp>, Option<Sender>, Option<Content>);

fn face(from: Option<&Participant>, time: Option<Timestamp>, content: Option<&Content>) -> Face {
    let sender = from.map(|from| match &from.id {
        Some(id) => Ok(id.clone()),
        None => Err((from.role.clone(), from.name.clone())),
    });
    (time, sender, content.cloned())
}

fn exact_index(segment: &SegmentId, place: Option<Place>) -> Option<(SegmentId, Primary)> {
    match place {
        Some(Place { estimated: false, primary: primary @ Primary::Index(..), .. }) => {
            Some((segment.clone(), primary))
        }
        _ => None,
    }
}

fn part(sighting: &Sighting) -> Option<u32> {
    match (sighting.chunk, &sighting.content) {
        (Some(Chunk::Part(number)), Some(_)) => Some(number),
        _ => None,
    }
}

fn print(sighting: &Sighting) -> Print {
    (
        Some(face(sighting.from.as_ref(), sighting.time, sighting.content.as_ref())),
        exact_index(&sighting.segment, sighting.place),
        part(sighting),
    )
}

/// A component of sightings, joined; with what decides its order and visibility.
struct Joined {
    row: Expected,
    seen: Vec<Seen>,
    print: Option<Print>,
    sequence: Option<u64>,
    told: bool,
    quiet: bool,
    pieces: bool,
    after: Option<Mark>,
}

pub(crate) struct Model {
    segments: BTreeMap<SegmentId, Option<Timestamp>>,
    own: BTreeSet<ParticipantId>,
    setting: Setting,
}

impl Model {
    /// All rows in order, hidden ones included.
    pub(crate) fn rows(facts: &[Fact], setting: Setting) -> Vec<Expected> {
        let mut model = Self { segments: BTreeMap::new(), own: BTreeSet::new(), setting };
        let mut seen = Vec::new();
        let mut gaps: BTreeMap<GapId, (Vec<Mark>, bool)> = BTreeMap::new();
        for fact in facts.iter().cloned() {
            let heard = matches!(fact, Fact::Sight(_));
            match fact {
                Fact::Segment(id, start) => {
                    let known = model.segments.entry(id).or_default();
                    *known = [*known, start].into_iter().flatten().min();
                }
                Fact::Own(id) => drop(model.own.insert(id)),
                Fact::Sight(sighting) | Fact::Answered(sighting) => seen.push(Seen {
                    heard,
                    aliases: sighting.aliases.iter().filter(|a| !a.value.is_empty()).cloned().collect(),
                    own: sighting.own,
                    quiet: sighting.quiet,
                    receipts: sighting.receipts.clone(),
                    sighting: Some(sighting),
                    ..Seen::default()
                }),
                Fact::Local(row) => seen.push(Seen {
                    aliases: [row.token].into(),
                    own: Some(true),
                    quiet: row.quiet,
                    local: Some((row.sequence, row.content, row.at)),
                    state: Some(row.state),
                    ..Seen::default()
                }),
                Fact::State(token, state) => {
                    seen.push(Seen { aliases: [token].into(), state: Some(state), ..Seen::default() });
                }
                Fact::Receipt(id, receipt) => {
                    seen.push(Seen { aliases: [id].into(), receipts: vec![receipt], ..Seen::default() });
                }
                Fact::Gap(id, after) => {
                    gaps.entry(id).or_default().0.extend(after.as_ref().and_then(Transcript::mark_of));
                }
                Fact::Close(id) => gaps.entry(id).or_default().1 = true,
            }
        }
        let mut rows: Vec<Joined> = components(seen).into_iter().map(|seen| model.join(seen)).collect();
        rows.extend(gaps.into_iter().map(|(id, (marks, closed))| model.gap(id, marks, closed)));
        rows.sort_by_key(|row| model.key(row));
        model.judge(&mut rows);
        rows.into_iter().map(|joined| joined.row).collect()
    }

    fn start(&self, segment: &SegmentId) -> (bool, Option<Timestamp>, SegmentId) {
        let start = self.segments.get(segment).copied().flatten();
        (start.is_none(), start, segment.clone())
    }

    fn mark_key(&self, mark: &Mark) -> impl Ord + use<> {
        let (place, id) = parts(mark);
        (self.start(mark.segment()), place.primary, place.tie, place.estimated, (id.is_none(), id))
    }

    /// Top 0, placed 1, unplaced 2, local 3.
    #[allow(clippy::type_complexity)]
    fn key(&self, joined: &Joined) -> impl Ord + use<> {
        let row = &joined.row;
        if let Some((id, _)) = &row.gap {
            return match &joined.after {
                None => (0, None, None, 0, None, Some(id.clone())),
                Some(mark) => {
                    let (place, alias) = parts(mark);
                    let tie = Some((alias.is_none(), alias, true, None));
                    let place = (place.primary, place.tie, place.estimated);
                    (1, Some(self.start(mark.segment())), Some(place), 0, tie, Some(id.clone()))
                }
            };
        }
        let id = row
            .aliases
            .iter()
            .find(|alias| alias.kind == AliasKind::Message)
            .or_else(|| row.aliases.first())
            .cloned();
        let print = joined.print.clone().filter(|_| id.is_none());
        let tie = Some((id.is_none(), id, false, print));
        let start = row.segment.as_ref().map(|segment| self.start(segment));
        match (row.place, joined.sequence) {
            (Some(place), _) => (1, start, Some((place.primary, place.tie, place.estimated)), 0, tie, None),
            (None, Some(sequence)) => (3, None, None, sequence, tie, None),
            // Rows of which no segment is known come last among those without a place.
            (None, None) => {
                (2, start.or(Some((true, None, SegmentId::new("\u{10FFFF}")))), None, 0, tie, None)
            }
        }
    }

    fn gap(&self, id: GapId, marks: Vec<Mark>, closed: bool) -> Joined {
        let after = marks.into_iter().max_by(|a, b| self.mark_key(a).cmp(&self.mark_key(b)));
        Joined {
            row: Expected {
                aliases: BTreeSet::new(),
                segment: after.as_ref().map(|mark| mark.segment().clone()),
                gap: Some((id, closed)),
                place: None,
                time: None,
                from: None,
                own: false,
                heard: false,
                original: None,
                content: None,
                versions: BTreeMap::new(),
                receipts: BTreeSet::new(),
                state: None,
                delivery: None,
                processing: None,
                visibility: if closed { Visibility::Closed } else { Visibility::Shown },
            },
            seen: Vec::new(),
            print: None,
            sequence: None,
            told: false,
            quiet: false,
            pieces: false,
            after,
        }
    }

    fn join(&self, seen: Vec<Seen>) -> Joined {
        let sightings: Vec<&Sighting> = seen.iter().filter_map(|seen| seen.sighting.as_ref()).collect();
        let aliases: BTreeSet<Alias> = seen.iter().flat_map(|seen| seen.aliases.clone()).collect();

        // In each segment the least place, exact before estimated; of the segments an exact one, then the first.
        let mut seats: BTreeMap<SegmentId, Option<Place>> = BTreeMap::new();
        for sighting in &sightings {
            let seat = seats.entry(sighting.segment.clone()).or_default();
            *seat = [*seat, sighting.place]
                .into_iter()
                .flatten()
                .min_by_key(|place| (place.estimated, place.primary, place.tie));
        }
        let seat = seats.iter().min_by_key(|(segment, place)| {
            (place.is_none(), place.is_some_and(|p| p.estimated), self.start(segment))
        });
        let (segment, place) = seat.map_or((None, None), |(segment, place)| (Some(segment.clone()), *place));

        let senders: Vec<Participant> =
            sightings.iter().filter_map(|sighting| sighting.from.clone()).collect();
        let from = senders.iter().map(|from| from.role.clone()).min().map(|role| Participant {
            id: senders.iter().filter_map(|from| from.id.clone()).min(),
            role,
            name: senders.iter().filter_map(|from| from.name.clone()).min(),
        });

        // Contents that are no pieces: each with its highest version and least raw text.
        let mut versions: BTreeMap<Content, (u32, Option<Arc<str>>)> = BTreeMap::new();
        let mut pieces: BTreeMap<u32, (u32, Content, Option<Arc<str>>)> = BTreeMap::new();
        for sighting in &sightings {
            let Some(content) = &sighting.content else { continue };
            if let Some(number) = part(sighting) {
                let piece = (sighting.version, content.clone(), sighting.raw.clone());
                let known = pieces.entry(number).or_insert_with(|| piece.clone());
                *known = known.clone().max(piece);
            } else {
                let known = versions.entry(content.clone()).or_default();
                known.0 = known.0.max(sighting.version);
                known.1 = [known.1.clone(), sighting.raw.clone()].into_iter().flatten().min();
            }
        }
        let local = seen.iter().filter_map(|seen| seen.local.clone()).min();
        let original = shown(&versions)
            .or_else(|| stitched(&pieces))
            .or_else(|| local.as_ref().map(|local| local.1.clone()));
        let content = match (&original, self.setting.shouting) {
            (Some(content), true) => shout(content).or_else(|| original.clone()),
            _ => original.clone(),
        };

        let mut receipts: BTreeMap<ParticipantId, Receipt> = BTreeMap::new();
        for receipt in seen.iter().flat_map(|seen| &seen.receipts) {
            let known = receipts.entry(receipt.by.clone()).or_insert_with(|| receipt.clone());
            known.delivered = [known.delivered, receipt.delivered].into_iter().flatten().min();
            known.read = [known.read, receipt.read].into_iter().flatten().min();
        }

        let time = sightings.iter().filter_map(|sighting| sighting.time).min().map(|at| (at, false));
        let time = time
            .or(match place {
                Some(Place { primary: Primary::Instant(at), estimated, .. }) => Some((at, estimated)),
                _ => None,
            })
            .or(local.as_ref().and_then(|local| Some((local.2?, true))));
        Joined {
            print: sightings.first().map(|sighting| print(sighting)).filter(|_| aliases.is_empty()),
            sequence: local.map(|local| local.0),
            told: !sightings.is_empty(),
            quiet: seen.iter().any(|seen| seen.quiet),
            pieces: !pieces.is_empty(),
            after: None,
            row: Expected {
                aliases,
                gap: None,
                segment,
                place,
                time,
                from,
                own: seen.iter().any(|seen| seen.own == Some(true)),
                heard: seen.iter().any(|seen| seen.heard),
                original,
                content,
                versions: versions
                    .into_iter()
                    .map(|(content, rest)| (format!("{content:?}"), rest))
                    .collect(),
                receipts: receipts.into_values().collect(),
                state: seen.iter().filter_map(|seen| seen.state).max(),
                delivery: None,
                processing: sightings.iter().filter_map(|sighting| sighting.processing).max(),
                visibility: Visibility::Empty,
            },
            seen,
        }
    }

    /// What depends on other rows. `rows` are in order.
    fn judge(&self, rows: &mut [Joined]) {
        // The faces of identified rows, with the indices that they have.
        let mut identified: Vec<(Face, BTreeSet<(SegmentId, Primary)>)> = Vec::new();
        for joined in rows.iter().filter(|joined| joined.print.is_none() && joined.row.gap.is_none()) {
            let time = joined.row.time.filter(|_| {
                joined
                    .seen
                    .iter()
                    .any(|seen| seen.sighting.as_ref().is_some_and(|sighting| sighting.time.is_some()))
            });
            let mut places: BTreeMap<SegmentId, Place> = BTreeMap::new();
            for sighting in joined.seen.iter().filter_map(|seen| seen.sighting.as_ref()) {
                if let Some(place) = sighting.place {
                    let known = places.entry(sighting.segment.clone()).or_insert(place);
                    *known = (*known).min(place);
                }
            }
            let indices: BTreeSet<_> = places
                .into_iter()
                .filter_map(|(segment, place)| exact_index(&segment, Some(place)))
                .collect();
            for sighting in joined.seen.iter().filter_map(|seen| seen.sighting.as_ref()) {
                if sighting.content.is_some() && part(sighting).is_none() {
                    let face =
                        face(joined.row.from.as_ref(), time.map(|time| time.0), sighting.content.as_ref());
                    identified.push((face, indices.clone()));
                }
            }
        }
        for joined in rows.iter_mut().filter(|joined| joined.row.gap.is_none()) {
            let duplicate = joined.print.as_ref().is_some_and(|(own, index, part)| {
                part.is_none()
                    && identified.iter().any(|(face, indices)| {
                        Some(face) == own.as_ref()
                            && index
                                .as_ref()
                                .is_none_or(|index| indices.is_empty() || indices.contains(index))
                    })
            });
            let row = &joined.row;
            let cancelled =
                !joined.told && row.state.is_some_and(|s| !s.sent && s.stage == SendStage::Cancelled);
            let matches = |filter: &Filter| match &row.original {
                Some(Content::Text(text)) => filter.matches(&text.body),
                _ => false,
            };
            joined.row.visibility = match &row.original {
                None if joined.pieces => Visibility::Incomplete,
                None => Visibility::Empty,
                Some(_) if cancelled => Visibility::Cancelled,
                Some(_) if duplicate => Visibility::Duplicate,
                Some(Content::Event(_)) => Visibility::Event,
                Some(_) if joined.quiet => Visibility::Quiet,
                Some(_) if self.setting.filters.iter().any(matches) => Visibility::Filtered,
                Some(_) => Visibility::Shown,
            };
        }
        let reference = |row: &Expected| match (&row.original, row.visibility) {
            (Some(Content::Interactive(interactive)), Visibility::Shown) => interactive.reference.clone(),
            _ => None,
        };
        let references: Vec<_> = rows.iter().map(|joined| reference(&joined.row)).collect();
        for at in 0..rows.len() {
            if references[at].is_some() && references[at + 1..].contains(&references[at]) {
                rows[at].row.visibility = Visibility::Superseded;
            }
        }
        let by_others = |joined: &Joined| -> Vec<Receipt> {
            joined.row.receipts.iter().filter(|receipt| !self.own.contains(&receipt.by)).cloned().collect()
        };
        let mut read = false;
        for joined in rows.iter_mut().rev().filter(|joined| joined.row.own) {
            let receipts = by_others(joined);
            let read_itself = receipts.iter().any(|receipt| receipt.read.is_some());
            let placed = joined.row.place.is_some();
            read |= placed && read_itself;
            let sent = joined.told || joined.row.state.is_some_and(|state| state.sent);
            if sent && joined.row.visibility.is_in(View::Full) {
                joined.row.delivery = Some(if read_itself || placed && read {
                    DeliveryState::Read
                } else if receipts.is_empty() {
                    DeliveryState::Sent
                } else {
                    DeliveryState::Delivered
                });
            }
        }
    }
}

/// A mark is opaque: what it says is read from its JSON.
fn parts(mark: &Mark) -> (Place, Option<Alias>) {
    let mut value = serde_json::to_value(mark).unwrap();
    let mut part = |name| value.get_mut(name).map(serde_json::Value::take).unwrap_or_default();
    (serde_json::from_value(part("place")).unwrap(), serde_json::from_value(part("id")).unwrap())
}

/// The connected components.
fn components(seen: Vec<Seen>) -> Vec<Vec<Seen>> {
    let mut groups: Vec<Vec<Seen>> = seen.into_iter().map(|seen| vec![seen]).collect();
    let same = |a: &Seen, b: &Seen| match (&a.sighting, &b.sighting) {
        (Some(x), Some(y)) if a.aliases.is_empty() && b.aliases.is_empty() => print(x) == print(y),
        _ => !a.aliases.is_disjoint(&b.aliases),
    };
    loop {
        let pair = (0..groups.len()).find_map(|a| {
            (a + 1..groups.len())
                .find(|b| groups[a].iter().any(|x| groups[*b].iter().any(|y| same(x, y))))
                .map(|b| (a, b))
        });
        let Some((a, b)) = pair else { return groups };
        let other = groups.remove(b);
        groups[a].extend(other);
    }
}

/// The newest version; files of that version are put together.
fn shown(versions: &BTreeMap<Content, (u32, Option<Arc<str>>)>) -> Option<Content> {
    let progress = |content: &Content| match content {
        Content::Files(files) => files.iter().map(|file| file.status).max(),
        _ => None,
    };
    let mut sorted: Vec<(&Content, u32)> = versions.iter().map(|(content, rest)| (content, rest.0)).collect();
    sorted.sort_by_key(|(content, version)| {
        Reverse((*version, progress(content), !matches!(content, Content::Other(_)), *content))
    });
    let (first, version) = *sorted.first()?;
    let Content::Files(newest) = first else { return Some(first.clone()) };
    let mut files = newest.clone();
    let others: Vec<&Attachment> = sorted[1..]
        .iter()
        .filter(|(_, other)| *other == version)
        .flat_map(|(content, _)| match content {
            Content::Files(files) => files.as_slice(),
            _ => &[],
        })
        .collect();
    for file in &mut files {
        for other in others.iter().filter(|other| other.id == file.id) {
            file.status = file.status.max(other.status);
            file.size = file.size.max(other.size);
            if file.name.is_empty() {
                file.name = other.name.clone();
            }
        }
    }
    let ids: BTreeSet<_> = others.iter().map(|file| file.id.clone()).collect();
    for id in ids {
        if newest.iter().all(|file| file.id != id) {
            let furthest =
                others.iter().filter(|file| file.id == id).max_by_key(|file| (file.status, **file));
            files.push((**furthest.unwrap()).clone());
        }
    }
    Some(Content::Files(files))
}

fn stitched(pieces: &BTreeMap<u32, (u32, Content, Option<Arc<str>>)>) -> Option<Content> {
    let (_, first, _) = pieces.get(&1)?;
    let Content::Text(start) = first else { return Some(first.clone()) };
    let texts = (1..).map_while(|number| match pieces.get(&number) {
        Some((_, Content::Text(text), _)) => Some(&*text.body),
        _ => None,
    });
    Some(Content::Text(Text { body: texts.collect::<String>().into(), format: start.format.clone() }))
}
