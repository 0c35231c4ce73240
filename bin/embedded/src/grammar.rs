//! Phrases and sentences from words.

use crate::draw::Draw;
use crate::lexicon::{
    ACTIONS, ANIMALS, DEEDS, Kind, NAMES, Noun, OTHER_ACTIONS, OTHER_DEEDS, OTHER_USES, PEOPLE,
    PLACES, THINGS, TIMES, USES, Verb, VerbKind,
};

/// `text` with its first letter capitalized.
pub(crate) fn capital(text: &str) -> String {
    let (first, rest) = text.split_at(text.len().min(1));
    first.to_uppercase() + rest
}

/// A sentence: its first letter a capital, a full stop at the end.
pub(crate) fn sentence(text: &str) -> String {
    capital(text) + "."
}

/// `a dog`, `an owl`.
pub(crate) fn a(phrase: &str) -> String {
    let article = if phrase.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {phrase}")
}

/// Different kinds of living beings.
pub(crate) fn kinds<const N: usize>(draw: &Draw) -> [&'static Kind; N] {
    different(draw, |draw| draw.pick([ANIMALS, PEOPLE][draw.below(2)]), |kind| kind.name.one)
}

/// Nouns for living beings of different kinds.
pub(crate) fn beings<const N: usize>(draw: &Draw) -> [Noun; N] {
    kinds(draw).map(|kind| if draw.one_in(3) { kind.name } else { *draw.pick(kind.members) })
}

/// A noun for a thing.
pub(crate) fn thing(draw: &Draw) -> Noun {
    let kind = draw.pick(THINGS);
    *draw.pick(kind.members)
}

/// Different names of persons.
pub(crate) fn names<const N: usize>(draw: &Draw) -> [&'static str; N] {
    different(draw, |draw| *draw.pick(NAMES[draw.below(2)]), |name| *name)
}

/// Different subjects of sentences: names, or nouns as in `the dog`.
pub(crate) fn subjects<const N: usize>(draw: &Draw) -> [String; N] {
    let (names, beings) = (names::<N>(draw), beings::<N>(draw));
    std::array::from_fn(|index| match draw.coin() {
        true => names[index].to_owned(),
        false => format!("the {}", beings[index].one),
    })
}

/// A verb for what one does alone.
pub(crate) fn action(draw: &Draw) -> Verb {
    verb(draw, ACTIONS, OTHER_ACTIONS)
}

/// Different verbs for what one does alone.
pub(crate) fn actions<const N: usize>(draw: &Draw) -> [Verb; N] {
    different(draw, action, |verb| verb.base)
}

/// A verb for what one does to somebody.
pub(crate) fn deed(draw: &Draw) -> Verb {
    verb(draw, DEEDS, OTHER_DEEDS)
}

/// A verb for what one does with a thing.
pub(crate) fn using(draw: &Draw) -> Verb {
    verb(draw, USES, OTHER_USES)
}

fn verb(draw: &Draw, kinds: &[VerbKind], others: &[Verb]) -> Verb {
    match kinds.get(draw.below(kinds.len() + 1)) {
        Some(kind) => *draw.pick(kind.members),
        None => *draw.pick(others),
    }
}

/// What somebody did: `waited`, `waited in the park`, `painted a kite`.
#[derive(Debug, Clone)]
pub(crate) struct Predicate {
    verb: Verb,
    rest: String,
}

impl Predicate {
    /// `waited`
    pub(crate) fn past(&self) -> String {
        format!("{}{}", self.verb.past, self.rest)
    }

    /// `wait`, as after `did not`.
    pub(crate) fn base(&self) -> String {
        format!("{}{}", self.verb.base, self.rest)
    }
}

/// Different things to have done, by different verbs.
pub(crate) fn predicates<const N: usize>(draw: &Draw) -> [Predicate; N] {
    different(draw, predicate, |predicate| predicate.verb.base)
}

fn predicate(draw: &Draw) -> Predicate {
    let (verb, rest) = match draw.below(4) {
        0 => (using(draw), format!(" {}", a(thing(draw).one))),
        1 => (action(draw), format!(" {}", draw.pick(PLACES))),
        _ => (action(draw), String::new()),
    };
    Predicate { verb, rest }
}

/// A time at the beginning of a sentence; mostly empty.
pub(crate) fn setting(draw: &Draw) -> String {
    if draw.one_in(3) { format!("{}, ", draw.pick(TIMES)) } else { String::new() }
}

/// Draws until there are `N` whose keys differ.
pub(crate) fn different<T: Clone, K: PartialEq, const N: usize>(
    draw: &Draw,
    one: impl Fn(&Draw) -> T,
    key: impl Fn(&T) -> K,
) -> [T; N] {
    let mut drawn: Vec<T> = Vec::with_capacity(N);
    while drawn.len() < N {
        let next = one(draw);
        if drawn.iter().all(|other| key(other) != key(&next)) {
            drawn.push(next);
        }
    }
    std::array::from_fn(|index| drawn[index].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_and_articles() {
        assert_eq!(sentence("anna waited"), "Anna waited.");
        assert_eq!((a("dog"), a("owl")), ("a dog".to_owned(), "an owl".to_owned()));
    }

    #[test]
    fn items_drawn_together_differ() {
        let draw = Draw::new(1, 0);
        for _ in 0..200 {
            let [first, second, third] = subjects(&draw);
            assert!(first != second && second != third && first != third);
            let [first, second] = predicates(&draw);
            assert_ne!(first.verb, second.verb);
        }
    }
}
