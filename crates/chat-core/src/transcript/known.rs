//! Owns the join: everything that is known of one message. Each field joins with a commutative, associative, idempotent
//! operator, so that neither order nor repetition nor grouping of what was told matters.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::SegmentId,
    message::{
        Alias, AliasKind, Aliases, Attachment, Chunk, Content, Participant, Place, Primary, Processing,
        Receipt, SendState, Sighting, Text,
    },
    time::Timestamp,
};

use super::{
    fingerprint::{Face, Print},
    place::{Mark, Seat, Segments, least},
};

/// One content that a message had, and the vendor's progress with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// The vendor's progress: higher is newer. 0 where the vendor has none.
    #[serde(default)]
    pub version: u32,
    /// The content, as the vendor told it.
    pub content: Content,
    /// The vendor's original text, if kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Arc<str>>,
}

impl Version {
    /// Higher is shown first: the vendor's progress, then the files' progress, then what has a type before what has none,
    /// then a fixed order of the contents themselves.
    fn rank(&self) -> impl Ord + '_ {
        let files = match &self.content {
            Content::Files(files) => files.iter().map(|file| file.status).max(),
            _ => None,
        };
        (self.version, files, !matches!(self.content, Content::Other(_)), &self.content)
    }
}

/// What the session itself knows of a message that it sends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Local {
    pub(super) sequence: u64,
    pub(super) content: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Timestamp>,
}

/// Everything that is known of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Sorted.
    aliases: Aliases,
    /// The first segment seen by id; further ones are rare and stand in `rest`.
    seat: Option<Seat>,
    time: Option<Timestamp>,
    from: Option<Participant>,
    own: Option<bool>,
    quiet: bool,
    /// Told by the chat itself, and not only by the answer to sending it.
    heard: bool,
    /// The highest version; the others stand in `rest`, descending.
    version: Option<Version>,
    rest: Option<Box<Rest>>,
}

/// What most messages lack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rest {
    /// By segment, without the least, which is `Known::seat`.
    seats: Vec<Seat>,
    versions: Vec<Version>,
    pieces: BTreeMap<u32, Version>,
    /// By participant.
    receipts: Vec<Receipt>,
    processing: Option<Processing>,
    /// Of sightings without content.
    raw: Option<Arc<str>>,
    local: Option<Box<Local>>,
    state: Option<SendState>,
}

/// What a join has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) any: bool,
    pub(super) content: bool,
    /// If the content may have changed: what it was.
    pub(super) old: Option<Option<Content>>,
    pub(super) state: bool,
    /// The new state of each receipt that told something new.
    pub(super) receipts: Vec<Receipt>,
}

/// Everything known of a message as one flat, canonical record: a line of the export.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Record {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<Alias>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seats: Vec<Seat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Participant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    own: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quiet: bool,
    /// Told, but only by the answer to sending it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    answered: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<Version>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pieces: BTreeMap<u32, Version>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    receipts: Vec<Receipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing: Option<Processing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Local>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<SendState>,
}

/// Which of a message's seats counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) nth: u32,
    pub(super) segment: u32,
    pub(super) place: Option<Place>,
}

/// The content that a message has by all that is known.
#[derive(Debug)]
pub(super) enum Joined<'a> {
    Nothing,
    Told(&'a Content),
    Made(Content),
}

impl From<Sighting> for Known {
    #[inline]
    fn from(sighting: Sighting) -> Self {
        let Sighting {
            aliases,
            segment,
            place,
            time,
            from,
            own,
            content,
            version,
            chunk,
            receipts,
            processing,
            raw,
            quiet,
        } = sighting;
        let mut known = Self {
            aliases: canonical(aliases),
            seat: Some(Seat { segment, place }),
            time,
            from,
            own,
            quiet,
            heard: true,
            version: None,
            rest: None,
        };
        let mut changed = Changed::default();
        match (content, chunk) {
            (Some(content), Some(Chunk::Part(number))) => {
                known.rest_mut().pieces.insert(number, Version { version, content, raw });
            }
            (Some(content), _) => known.version = Some(Version { version, content, raw }),
            (None, _) => {
                if raw.is_some() {
                    known.rest_mut().raw = raw;
                }
            }
        }
        for receipt in &receipts {
            known.join_receipt(receipt, &mut changed);
        }
        if processing.is_some() {
            known.rest_mut().processing = processing;
        }
        known
    }
}

fn canonical(aliases: Aliases) -> Aliases {
    if aliases.len() == 1 && aliases.iter().all(|alias| !alias.value.is_empty()) {
        return aliases;
    }
    let mut list: Vec<Alias> = aliases.into();
    // An empty id names nothing.
    list.retain(|alias| !alias.value.is_empty());
    list.sort_unstable();
    list.into()
}

impl Known {
    pub(super) fn alias(alias: Alias) -> Self {
        Self { aliases: std::iter::once(alias).collect(), ..Self::default() }
    }

    pub(super) fn linked(a: Alias, b: Alias) -> Self {
        Self { aliases: canonical([a, b].into_iter().collect()), ..Self::default() }
    }

    pub(super) fn with_local(mut self, local: Local, quiet: bool) -> Self {
        self.own = Some(true);
        self.quiet = quiet;
        self.rest_mut().local = Some(Box::new(local));
        self
    }

    /// As told by the answer to sending it.
    pub(super) fn answered(sighting: Sighting) -> Self {
        Self { heard: false, ..sighting.into() }
    }

    pub(super) fn with_state(mut self, state: SendState) -> Self {
        self.rest_mut().state = Some(state);
        self
    }

    pub(super) fn with_receipt(mut self, receipt: Receipt) -> Self {
        self.rest_mut().receipts.push(receipt);
        self
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    pub(super) const fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    pub(super) const fn time(&self) -> Option<Timestamp> {
        self.time
    }

    pub(super) const fn sender(&self) -> Option<&Participant> {
        self.from.as_ref()
    }

    pub(super) const fn own(&self) -> Option<bool> {
        self.own
    }

    pub(super) const fn quiet(&self) -> bool {
        self.quiet
    }

    pub(super) const fn is_heard(&self) -> bool {
        self.heard
    }

    pub(super) fn receipts(&self) -> &[Receipt] {
        self.rest.as_ref().map_or(&[], |rest| &rest.receipts)
    }

    pub(super) fn processing(&self) -> Option<Processing> {
        self.rest.as_ref()?.processing
    }

    pub(super) fn state(&self) -> Option<SendState> {
        self.rest.as_ref()?.state
    }

    pub(super) fn local(&self) -> Option<&Local> {
        self.rest.as_ref()?.local.as_deref()
    }

    /// All versions, the newest first.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Version> {
        let more = self.rest.as_ref().map_or(&[][..], |rest| &rest.versions);
        self.version.iter().chain(more)
    }

    /// Whether it has a content and nothing out of the ordinary.
    pub(super) const fn is_plain(&self) -> bool {
        self.rest.is_none() && self.version.is_some()
    }

    /// The newest version's content.
    pub(super) fn newest(&self) -> Option<&Content> {
        self.version.as_ref().map(|version| &version.content)
    }

    pub(super) fn has_pieces(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.pieces.is_empty())
    }

    pub(super) fn raw(&self) -> Option<&Arc<str>> {
        self.versions()
            .find_map(|version| version.raw.as_ref())
            .or_else(|| self.rest.as_ref()?.pieces.values().find_map(|piece| piece.raw.as_ref()))
            .or_else(|| self.rest.as_ref()?.raw.as_ref())
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = &Seat> {
        let more = self.rest.as_ref().map_or(&[][..], |rest| &rest.seats);
        self.seat.iter().chain(more)
    }

    /// Where it stands: exact beats estimated, then the earliest segment, then the least place.
    pub(super) fn standing(&self, segments: &mut Segments) -> Option<Standing> {
        let first = self.seat.as_ref()?;
        let mut best = Standing { nth: 0, segment: segments.number(&first.segment), place: first.place };
        let more = self.rest.as_ref().map_or(&[][..], |rest| &rest.seats);
        for (seat, nth) in more.iter().zip(1..) {
            let segment = segments.number(&seat.segment);
            let better = match (&seat.place, &best.place) {
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(a), Some(b)) if a.estimated != b.estimated => b.estimated,
                _ => segments.compare(segment, best.segment).is_lt(),
            };
            if better {
                best = Standing { nth, segment, place: seat.place };
            }
        }
        Some(best)
    }

    /// The server's own indices, one for each segment that has them.
    pub(super) fn indices(&self) -> impl Iterator<Item = (&SegmentId, Primary)> {
        self.seats().filter_map(|seat| match seat.place {
            Some(Place { estimated: false, primary: primary @ Primary::Index(..), .. }) => {
                Some((&seat.segment, primary))
            }
            _ => None,
        })
    }

    /// Whether a vendor has told of it.
    pub(super) const fn is_told(&self) -> bool {
        self.seat.is_some()
    }

    /// What stands for the id of an item without one.
    pub(super) fn print(&self) -> Print {
        let (content, chunk) = match (&self.version, &self.rest) {
            (Some(version), _) => (Some(&version.content), None),
            (None, Some(rest)) => match rest.pieces.first_key_value() {
                Some((number, piece)) => (Some(&piece.content), Some(Chunk::Part(*number))),
                None => (None, None),
            },
            (None, None) => (None, None),
        };
        let index = self.indices().next().map(|(segment, primary)| (segment.clone(), primary));
        Print::new(Face::new(self.from.as_ref(), self.time, content), index, chunk)
    }

    /// The faces under which an item without an id may be a copy of this one.
    pub(super) fn faces(&self) -> Vec<Arc<Face>> {
        self.versions()
            .map(|version| Arc::new(Face::new(self.from.as_ref(), self.time, Some(&version.content))))
            .collect()
    }

    /// The content by all that is known: the newest version, else the pieces without a hole from 1, else what this session
    /// sends.
    pub(super) fn content(&self) -> Joined<'_> {
        if let Some(version) = &self.version {
            return match &version.content {
                Content::Files(files) => self.files(version.version, files),
                content => Joined::Told(content),
            };
        }
        let Some(rest) = &self.rest else { return Joined::Nothing };
        match rest.pieces.get(&1) {
            Some(first) => stitch(&rest.pieces, &first.content),
            None => rest.local.as_ref().map_or(Joined::Nothing, |local| Joined::Told(&local.content)),
        }
    }

    /// Files join by id, each with its furthest progress: a sighting may tell of one of several.
    fn files<'a>(&'a self, version: u32, newest: &'a [Attachment]) -> Joined<'a> {
        let Some(Version { content, .. }) = &self.version else { return Joined::Nothing };
        let mut others = self
            .versions()
            .skip(1)
            .take_while(|other| other.version == version)
            .filter_map(|other| match &other.content {
                Content::Files(files) => Some(files),
                _ => None,
            })
            .peekable();
        if others.peek().is_none() {
            return Joined::Told(content);
        }
        let mut files = newest.to_vec();
        let mut more: BTreeMap<&str, &Attachment> = BTreeMap::new();
        for file in others.flatten() {
            if let Some(own) = files.iter_mut().find(|own| own.id == file.id) {
                own.status = own.status.max(file.status);
                own.size = own.size.max(file.size);
                // Who says that a file is deleted need not say its name again.
                if own.name.is_empty() {
                    own.name = Arc::clone(&file.name);
                }
            } else {
                let entry = more.entry(file.id.as_str()).or_insert(file);
                *entry = std::cmp::max_by_key(*entry, file, |file| (file.status, *file));
            }
        }
        files.extend(more.into_values().cloned());
        Joined::Made(Content::Files(files))
    }

    /// Joins `other` in.
    pub(super) fn join(&mut self, other: Self) -> Changed {
        let this = self;
        let mut changed = Changed::default();
        this.join_aliases(other.aliases, &mut changed);
        if let Some(seat) = other.seat {
            this.join_seat(seat, &mut changed);
        }
        let time = least(this.time, other.time);
        if time != this.time {
            this.time = time;
            changed.any = true;
        }
        this.join_from(other.from, &mut changed);
        if other.own > this.own {
            this.own = other.own;
            changed.any = true;
        }
        if other.quiet && !this.quiet {
            this.quiet = true;
            changed.any = true;
        }
        if other.heard && !this.heard {
            this.heard = true;
            changed.any = true;
        }
        if let Some(version) = other.version {
            this.join_version(version, &mut changed);
        }
        if let Some(rest) = other.rest {
            this.join_rest(*rest, &mut changed);
        }
        changed
    }

    fn join_aliases(&mut self, other: Aliases, changed: &mut Changed) {
        if other.iter().all(|alias| self.aliases.contains(alias)) {
            return;
        }
        let mut list: Vec<Alias> = std::mem::take(&mut self.aliases).into();
        list.extend(Vec::from(other));
        list.sort_unstable();
        list.dedup();
        self.aliases = list.into();
        changed.any = true;
    }

    fn join_seat(&mut self, seat: Seat, changed: &mut Changed) {
        let Some(first) = &mut self.seat else {
            self.seat = Some(seat);
            changed.any = true;
            return;
        };
        let other = match seat.segment.cmp(&first.segment) {
            Ordering::Equal => {
                changed.any |= join_least(&mut first.place, seat.place);
                return;
            }
            Ordering::Less => std::mem::replace(first, seat),
            Ordering::Greater => seat,
        };
        let seats = &mut self.rest_mut().seats;
        match seats.binary_search_by(|known| known.segment.cmp(&other.segment)) {
            Ok(at) => changed.any |= join_least(&mut seats[at].place, other.place),
            Err(at) => {
                seats.insert(at, other);
                changed.any = true;
            }
        }
    }

    fn join_from(&mut self, other: Option<Participant>, changed: &mut Changed) {
        let Some(other) = other else { return };
        let Some(from) = &mut self.from else {
            self.from = Some(other);
            changed.any = true;
            return;
        };
        if *from == other {
            return;
        }
        let joined = Participant {
            id: least(from.id.clone(), other.id),
            role: from.role.clone().min(other.role),
            name: least(from.name.clone(), other.name),
        };
        if joined != *from {
            *from = joined;
            changed.any = true;
        }
    }

    fn note_content(&self, changed: &mut Changed) {
        changed.any = true;
        changed.content = true;
        if changed.old.is_none() {
            changed.old = Some(match self.content() {
                Joined::Nothing => None,
                Joined::Told(content) => Some(content.clone()),
                Joined::Made(content) => Some(content),
            });
        }
    }

    fn join_version(&mut self, version: Version, changed: &mut Changed) {
        match &mut self.version {
            None => {
                self.note_content(changed);
                self.version = Some(version);
                return;
            }
            Some(own) if own.content == version.content && own.version >= version.version => {
                changed.any |= join_least(&mut own.raw, version.raw);
                return;
            }
            Some(_) => {}
        }
        let mut version = version;
        if let Some(rest) = &mut self.rest
            && let Some(at) = rest.versions.iter().position(|known| known.content == version.content)
        {
            let known = &mut rest.versions[at];
            changed.any |= join_least(&mut known.raw, version.raw.take());
            if version.version <= known.version {
                return;
            }
            version.raw.clone_from(&known.raw);
            self.note_content(changed);
            self.rest_mut().versions.remove(at);
        } else {
            self.note_content(changed);
        }
        let Some(own) = &mut self.version else { return };
        if own.content == version.content {
            own.version = version.version;
            join_least(&mut own.raw, version.raw);
            return;
        }
        let newest = version.rank().cmp(&own.rank()).is_gt();
        if newest {
            std::mem::swap(own, &mut version);
        }
        let versions = &mut self.rest_mut().versions;
        let at = if newest {
            0
        } else {
            versions.partition_point(|known| known.rank().cmp(&version.rank()).is_gt())
        };
        versions.insert(at, version);
    }

    fn join_rest(&mut self, other: Rest, changed: &mut Changed) {
        for seat in other.seats {
            self.join_seat(seat, changed);
        }
        for version in other.versions {
            self.join_version(version, changed);
        }
        for (number, piece) in other.pieces {
            self.join_piece(number, piece, changed);
        }
        for receipt in &other.receipts {
            self.join_receipt(receipt, changed);
        }
        if other.processing > self.processing() {
            self.rest_mut().processing = other.processing;
            changed.any = true;
        }
        if other.raw.is_some() {
            changed.any |= join_least(&mut self.rest_mut().raw, other.raw);
        }
        if let Some(local) = other.local
            && self.local().is_none_or(|own| *local < *own)
        {
            self.note_content(changed);
            self.rest_mut().local = Some(local);
        }
        if other.state > self.state() {
            self.rest_mut().state = other.state;
            changed.any = true;
            changed.state = true;
        }
    }

    fn join_piece(&mut self, number: u32, piece: Version, changed: &mut Changed) {
        let own = self.rest.as_ref().and_then(|rest| rest.pieces.get(&number));
        if own.is_some_and(|own| piece_rank(own) >= piece_rank(&piece)) {
            return;
        }
        self.note_content(changed);
        self.rest_mut().pieces.insert(number, piece);
    }

    fn join_receipt(&mut self, receipt: &Receipt, changed: &mut Changed) {
        let at = self.receipts().binary_search_by(|known| known.by.cmp(&receipt.by));
        let receipts = &mut self.rest_mut().receipts;
        match at {
            Err(at) => receipts.insert(at, receipt.clone()),
            Ok(at) => {
                let known = &mut receipts[at];
                let delivered = least(known.delivered, receipt.delivered);
                let read = least(known.read, receipt.read);
                if (delivered, read) == (known.delivered, known.read) {
                    return;
                }
                (known.delivered, known.read) = (delivered, read);
            }
        }
        changed.any = true;
        let at = at.unwrap_or_else(|at| at);
        changed.receipts.push(self.receipts()[at].clone());
    }

    pub(super) fn record(&self) -> Record {
        let rest = self.rest.as_deref();
        Record {
            aliases: self.aliases.iter().cloned().collect(),
            seats: self.seats().cloned().collect(),
            time: self.time,
            from: self.from.clone(),
            own: self.own,
            quiet: self.quiet,
            answered: self.is_told() && !self.heard,
            versions: self.versions().cloned().collect(),
            pieces: rest.map(|rest| rest.pieces.clone()).unwrap_or_default(),
            receipts: self.receipts().to_vec(),
            processing: self.processing(),
            raw: rest.and_then(|rest| rest.raw.clone()),
            local: self.local().cloned(),
            state: self.state(),
        }
    }

    /// The point right behind it, if it has a place.
    pub(super) fn mark(&self, segments: &mut Segments) -> Option<Mark> {
        let standing = self.standing(segments)?;
        let segment = self.seats().nth(standing.nth as usize)?.segment.clone();
        Some(Mark { segment, place: standing.place?, id: self.least_alias().cloned() })
    }

    /// The message id: the least, whatever the order in which several became known.
    pub(super) fn least_alias(&self) -> Option<&Alias> {
        self.aliases
            .iter()
            .find(|alias| alias.kind == AliasKind::Message)
            .or_else(|| self.aliases.iter().next())
    }
}

impl From<Record> for Known {
    /// Trusts nothing: an edited record is joined piece by piece, as anything else.
    fn from(record: Record) -> Self {
        let mut known = Self {
            aliases: canonical(record.aliases.into()),
            time: record.time,
            from: record.from,
            own: record.own,
            quiet: record.quiet,
            heard: !record.seats.is_empty() && !record.answered,
            ..Self::default()
        };
        let rest = Rest {
            seats: record.seats,
            versions: record.versions,
            pieces: record.pieces,
            receipts: record.receipts,
            processing: record.processing,
            raw: record.raw,
            local: record.local.map(Box::new),
            state: record.state,
        };
        if rest != Rest::default() {
            known.join_rest(rest, &mut Changed::default());
        }
        known
    }
}

/// The least counts, anything beats nothing: of places, an exact one is less than an estimate.
fn join_least<T: Ord + Clone>(own: &mut Option<T>, other: Option<T>) -> bool {
    let joined = least(own.clone(), other);
    let changed = joined != *own;
    *own = joined;
    changed
}

/// Of several pieces with one number, the greatest counts.
fn piece_rank(piece: &Version) -> impl Ord + '_ {
    (piece.version, &piece.content, &piece.raw)
}

/// The pieces from 1 up to the first hole.
fn stitch<'a>(pieces: &'a BTreeMap<u32, Version>, first: &'a Content) -> Joined<'a> {
    let Content::Text(start) = first else { return Joined::Told(first) };
    let mut body = start.body.to_string();
    let mut next = 2;
    while let Some(Version { content: Content::Text(piece), .. }) = pieces.get(&next) {
        body.push_str(&piece.body);
        next += 1;
    }
    Joined::Made(Content::Text(Text { body: body.into(), format: start.format.clone() }))
}
