//! Owns which row a name leads to.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use crate::{
    ids::Scope,
    message::{Alias, AliasKind},
};

/// An alias whose scope and kind are a number: these are few, and scopes long, so that names are neither hashed nor kept with
/// them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Name {
    realm: u32,
    value: Arc<str>,
}

/// The rows by their aliases, as slots.
#[derive(Debug, Default)]
pub(super) struct Names {
    slots: HashMap<Name, u32>,
    realms: HashMap<(Scope, AliasKind), u32>,
    /// The realm that was filed in last: the next name is mostly of the same.
    last: Option<(Scope, AliasKind, u32)>,
}

impl Names {
    /// Where `alias` leads.
    pub(super) fn get(&self, alias: &Alias) -> Option<u32> {
        self.slots.get(&name(self.realm(alias)?, alias)).copied()
    }

    /// Where `alias` leads already; if nowhere, it leads to `slot` from now on.
    pub(super) fn file(&mut self, alias: &Alias, slot: u32) -> Option<u32> {
        match self.entry(alias) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => {
                entry.insert(slot);
                None
            }
        }
    }

    /// `alias` leads to `slot` from now on.
    pub(super) fn lead(&mut self, alias: &Alias, slot: u32) {
        *self.entry(alias).or_default() = slot;
    }

    /// `alias` leads nowhere any more.
    pub(super) fn remove(&mut self, alias: &Alias) {
        if let Some(realm) = self.realm(alias) {
            self.slots.remove(&name(realm, alias));
        }
    }

    fn entry(&mut self, alias: &Alias) -> Entry<'_, Name, u32> {
        let realm = self.realm(alias).unwrap_or_else(|| {
            let number = self.realms.len() as u32;
            self.realms.insert((alias.scope.clone(), alias.kind), number);
            number
        });
        if self.last.as_ref().is_none_or(|(.., last)| *last != realm) {
            self.last = Some((alias.scope.clone(), alias.kind, realm));
        }
        self.slots.entry(name(realm, alias))
    }

    fn realm(&self, alias: &Alias) -> Option<u32> {
        match &self.last {
            Some((scope, kind, number)) if *kind == alias.kind && *scope == alias.scope => Some(*number),
            _ => self.realms.get(&(alias.scope.clone(), alias.kind)).copied(),
        }
    }
}

fn name(realm: u32, alias: &Alias) -> Name {
    Name { realm, value: Arc::clone(&alias.value) }
}
