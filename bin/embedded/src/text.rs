//! Text for pretraining: an endless stream of short documents of two parts.
//!
//! The documents use the vocabulary of the task and cover more topics: possession, kinship, hypernyms, sums, answers to
//! questions. Some draw a conclusion (`So …`) or state a possibility (`Maybe …`) by the [rules](crate::rules) of the task,
//! but never from one of its premises.

use std::collections::HashSet;

use crate::draw::Draw;
use crate::grammar::{
    a, actions, beings, capital, kinds, names, predicates, sentence, setting, subjects, thing,
};
use crate::lexicon::{
    ACTIONS, ANIMAL, ANIMALS, COLOURS, DEEDS, HABITS, NAMES, NUMBERS, PEOPLE, PERSON, PLACES,
    QUALITIES, THING, THINGS, TIMES, TRANSFERS, USES,
};
use crate::rules::{RULES, Twins};
use crate::task::task;

/// The two parts of a text, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The first part: one or more sentences.
    pub first: String,
    /// The part that follows it.
    pub second: String,
    /// Whether pretraining shows the second part before the first; `None` for either way.
    pub switched: Option<bool>,
}

impl Document {
    fn new(first: String, second: String) -> Self {
        Self { first, second, switched: None }
    }
}

/// The endless text of a seed, the same on every machine.
///
/// Neither part of a document is a premise of the [task](crate::task()).
pub fn text(seed: u64) -> impl Iterator<Item = Document> {
    let draw = Draw::new(seed, u64::from(u32::MAX));
    without_premises(std::iter::repeat_with(move || match draw.coin() {
        true => conclusion(&draw),
        false => draw.pick(KINDS)(&draw),
    }))
}

/// The simple text of a seed, to begin pretraining with. Like [`text`] it is endless, contains no premise of the task
/// and is the same on every machine.
///
/// Habits teach most directly that a verb belongs to the subject next to it. Building on that, roll calls and questions
/// teach most directly to find what was said about someone.
pub fn first_text(seed: u64) -> impl Iterator<Item = Document> {
    let draw = Draw::new(seed, u64::from(u32::MAX) - 1);
    without_premises(std::iter::repeat_with(move || {
        draw.pick(&[habits, roll_call, roll_call, question])(&draw)
    }))
}

fn without_premises(documents: impl Iterator<Item = Document>) -> impl Iterator<Item = Document> {
    let task = task();
    let premises: HashSet<&str> = [&task.train, &task.validation, &task.test]
        .into_iter()
        .flatten()
        .map(|pair| pair.premise.as_str())
        .collect();
    documents.filter(move |document| {
        ![&document.first, &document.second].iter().any(|part| premises.contains(part.as_str()))
    })
}

/// The kinds of documents other than conclusions. Listing a kind n times makes it n times as frequent.
const KINDS: &[fn(&Draw) -> Document] = &[
    possession,
    possession,
    handed_on,
    handed_on,
    journey,
    ranking,
    sequence,
    saying_less,
    saying_less,
    repainting,
    roll_call,
    roll_call,
    roll_call,
    roll_call,
    question,
    question,
    colours,
    whereabouts,
    sum,
    kinship,
    kind_of_being,
    kind_of_doing,
    quality,
    habits,
];

fn document(first: &str, second: &str) -> Document {
    Document::new(sentence(first), sentence(second))
}

fn asked(question: &str, answer: &str) -> String {
    format!("{}? {}", capital(question), sentence(answer))
}

/// Anna waited and Boris ran. Anna waited. Or, a guess before the facts: Boris waited. Anna waited and Boris ran.
///
/// A conclusion comes after the facts it follows from; a guess comes before them. Pretraining always shows the facts first:
/// if it showed either order, telling the order would be an exclusive-or of which part comes first and whether it follows,
/// which a small network does not learn.
fn conclusion(draw: &Draw) -> Document {
    let Twins { hypothesis, entailing, other } = draw.pick(&RULES).1(draw);
    match draw.coin() {
        true => Document { switched: Some(false), ..document(&entailing, &hypothesis) },
        false => Document { switched: Some(true), ..document(&hypothesis, &other) },
    }
}

/// Anna bought a kite. She gave it to Boris. Now Boris has the kite.
fn possession(draw: &Draw) -> Document {
    let [first, second, third] = names(draw);
    let (thing, giving) = (thing(draw).one, draw.pick(TRANSFERS).giving);
    let got = draw.pick(&["bought", "found", "made", "won"]);
    let setting = setting(draw);
    let begin = sentence(&format!("{setting}{first} {got} {}", a(thing)));
    let hand = |from: &str, to: &str| {
        sentence(&format!("{} {} it {} {to}", pronoun(from), giving.0, giving.1))
    };
    let (mut story, mut owner) = (begin, first);
    for next in [second, third].into_iter().take(draw.below(3)) {
        story = format!("{story} {}", hand(owner, next));
        owner = next;
    }
    let end = match draw.below(4) {
        0 => sentence(&format!("now the {thing} belongs to {owner}")),
        1 => {
            let other = if owner == third { second } else { third };
            sentence(&format!("now {other} does not have the {thing}"))
        }
        2 => asked(&format!("who has the {thing}"), &format!("{owner} has it")),
        _ => sentence(&format!("now {owner} has the {thing}")),
    };
    Document::new(story, end)
}

/// Anna gave a kite to Boris. Boris gave it to Carl: nobody hands on what he does not have yet.
fn handed_on(draw: &Draw) -> Document {
    let ([x, y, z], thing) = (names(draw), thing(draw).one);
    let hand = |from: &str, to: &str| {
        let transfer = draw.pick(TRANSFERS);
        let ((gave, preposition), (got, origin)) = (transfer.giving, transfer.receiving);
        match draw.coin() {
            true => sentence(&format!("{from} {gave} the {thing} {preposition} {to}")),
            false => sentence(&format!("{to} {got} the {thing} {origin} {from}")),
        }
    };
    Document::new(hand(x, y), hand(y, z))
}

/// Anna went from the park to the bridge. She went from the bridge to the tent.
fn journey(draw: &Draw) -> Document {
    let [x, y] = subjects(draw);
    let towns = ["Rome", "Paris", "London", "Berlin", "Madrid", "Vienna"];
    let [one, two, three, other] = draw.distinct(&towns);
    let leg = |who: &String, from: &str, to: &str| match draw.coin() {
        true => format!("{who} went from {from} to {to}"),
        false => format!("{who} left {from} for {to}"),
    };
    let aside = leg(&y, three, other);
    document(&format!("{} and {aside}", leg(&x, one, two)), &leg(&x, two, three))
}

/// Anna is older than Boris. Boris is older than Carl: from one end to the other.
fn ranking(draw: &Draw) -> Document {
    let [x, y, z] = subjects(draw);
    let [more, less] = &draw.pick(QUALITIES).comparative;
    let step = |x: &String, y: &String| match draw.coin() {
        true => format!("{x} is {more} than {y}"),
        false => format!("{y} is {less} than {x}"),
    };
    document(&step(&x, &y), &step(&y, &z))
}

/// Anna waited before Boris ran. Boris ran before Carl slept.
fn sequence(draw: &Draw) -> Document {
    let (who, did) = (subjects::<3>(draw), actions::<3>(draw));
    let event = |index: usize| format!("{} {}", who[index], did[index].past);
    let step = |first: usize, then: usize| match draw.coin() {
        true => format!("{} before {}", event(first), event(then)),
        false => format!("{} after {}", event(then), event(first)),
    };
    document(&step(0, 1), &step(1, 2))
}

/// A poodle hugged Anna. A dog touched Anna: the second sentence says less than the first.
fn saying_less(draw: &Draw) -> Document {
    let ([kind], [whom]) = (kinds(draw), subjects(draw));
    let (member, deeds) = (draw.pick(kind.members), draw.pick(DEEDS));
    let (deed, more) = (draw.pick(deeds.members).past, draw.below(NUMBERS.len() - 1) + 1);
    let fewer = NUMBERS[draw.below(more)];
    let (who, general) = (a(member.one), a(kind.name.one));
    let (first, second) = match draw.below(4) {
        0 => (format!("{who} {deed} {whom}"), format!("{general} {deed} {whom}")),
        1 => (format!("{who} {deed} {whom}"), format!("{who} {} {whom}", deeds.name.past)),
        2 => {
            let more = NUMBERS[more];
            (
                format!("{more} {} {deed} {whom}", member.many),
                format!("at least {fewer} {} {deed} {whom}", member.many),
            )
        }
        _ => (
            format!("no {} {deed} {whom}", kind.name.one),
            format!("no {} {deed} {whom}", member.one),
        ),
    };
    document(&first, &second)
}

/// The kite and the ball were red. Anna painted the kite blue. Now the ball is red and the kite is blue.
fn repainting(draw: &Draw) -> Document {
    let ([x, y], [who]) =
        (draw.distinct(THINGS).map(|kind| draw.pick(kind.members).one), names(draw));
    let [red, blue, green] = draw.distinct(COLOURS);
    let before = format!("the {x} was {red} and the {y} was {blue}");
    let first =
        format!("{} {}", sentence(&before), sentence(&format!("{who} painted the {x} {green}")));
    let second = match draw.below(3) {
        0 => format!("now the {x} is {green}"),
        1 => format!("the {y} is still {blue}"),
        _ => format!("now the {x} is not {red}"),
    };
    Document::new(first, sentence(&second))
}

/// Anna waited, Boris ran and Clara slept. Clara slept, Anna waited and Boris ran.
fn roll_call(draw: &Draw) -> Document {
    let (who, did) = (subjects::<3>(draw), actions::<3>(draw));
    let mut clauses: Vec<_> =
        who.iter().zip(did).map(|(who, did)| format!("{who} {}", did.past)).collect();
    clauses.truncate(1 + draw.below(3));
    let first = list(&clauses);
    draw.shuffle(&mut clauses);
    Document::new(first, list(&clauses))
}

/// The lion roars and the baker bakes. The cow moos, the singer sings and the frog croaks.
fn habits(draw: &Draw) -> Document {
    let clauses = draw.distinct::<_, 8>(HABITS).map(|(who, does)| format!("the {who} {does}"));
    let (first, others) = clauses.split_at(2 + draw.below(3));
    Document::new(list(first), list(&others[..2 + draw.below(3)]))
}

fn list(clauses: &[String]) -> String {
    match clauses {
        [first @ .., last] if !first.is_empty() => {
            sentence(&format!("{} and {last}", first.join(", ")))
        }
        _ => sentence(&clauses.concat()),
    }
}

/// Anna waited and Boris ran. Who ran? Boris did.
fn question(draw: &Draw) -> Document {
    let ([x, y], [did, other]) = (subjects(draw), predicates(draw));
    let (did, other, setting) = (did.past(), other.past(), setting(draw));
    let (who, what) = if draw.coin() { (&x, &did) } else { (&y, &other) };
    let first = format!("{setting}{x} {did} and {y} {other}");
    let second = match draw.coin() {
        true => asked(&format!("who {what}"), &format!("{who} did")),
        false => asked(&format!("what about {who}"), &format!("{who} {what}")),
    };
    Document::new(sentence(&first), second)
}

/// The kite is red and the ball is blue. The ball is not red.
fn colours(draw: &Draw) -> Document {
    let [x, y] = draw.distinct(THINGS).map(|kind| draw.pick(kind.members).one);
    let [red, blue] = draw.distinct(COLOURS);
    let first = format!("the {x} is {red} and the {y} is {blue}");
    match draw.below(4) {
        0 => document(&first, &format!("the {y} is not {red}")),
        1 => document(&first, &format!("there is a {red} {x}")),
        2 => Document::new(
            sentence(&first),
            asked(&format!("what is {blue}"), &format!("the {y} is")),
        ),
        _ => document(&first, &format!("the {y} is {blue} and the {x} is {red}")),
    }
}

/// Anna was in the park. Boris went to her. Now both are in the park.
fn whereabouts(draw: &Draw) -> Document {
    let ([x, y], [here, there]) = (names(draw), draw.distinct(PLACES));
    let when = draw.pick(TIMES);
    let first = format!("{when}, {x} was {here} and {y} was {there}");
    match draw.below(3) {
        0 => document(&first, &format!("then {y} went to {x}, and both were {here}")),
        1 => document(&first, &format!("then {x} went to {y}, and both were {there}")),
        _ => document(&first, &format!("{when}, {y} was not {here} but {there}")),
    }
}

/// Two dogs and three owls waited. In all, five animals waited.
fn sum(draw: &Draw) -> Document {
    let (kinds, name) = *draw.pick(&[(ANIMALS, ANIMAL), (PEOPLE, PERSON), (THINGS, THING)]);
    let [x, y] = draw.distinct(kinds).map(|kind| draw.pick(kind.members).many);
    let (first, second) = (draw.below(5), draw.below(5));
    let total = first + second + 2;
    let seen = draw.pick(&["there were", "Anna saw", "Boris drew", "we met"]);
    document(
        &format!("{seen} {} {x} and {} {y}", NUMBERS[first], NUMBERS[second]),
        &format!("{seen} {} {} in all", NUMBERS[total], name.many),
    )
}

/// Anna is the mother of Boris. Boris is her son.
fn kinship(draw: &Draw) -> Document {
    let [parent, child] = names(draw);
    let is_woman = |name: &str| NAMES[0].contains(&name);
    let as_parent = if is_woman(parent) { "mother" } else { "father" };
    let as_child = if is_woman(child) { "daughter" } else { "son" };
    let whose = if is_woman(parent) { "her" } else { "his" };
    let down = format!("{parent} is the {as_parent} of {child}");
    let up = format!("{child} is the {as_child} of {parent}");
    match draw.below(4) {
        0 => document(&down, &up),
        1 => document(&up, &down),
        2 => document(&down, &format!("{child} is {whose} {as_child}")),
        _ => document(&down, &format!("{parent} is older than {child}")),
    }
}

/// A poodle is a dog. All dogs are animals.
fn kind_of_being(draw: &Draw) -> Document {
    let (kinds, top) = *draw.pick(&[(ANIMALS, ANIMAL), (PEOPLE, PERSON), (THINGS, THING)]);
    let [kind, other] = draw.distinct(kinds);
    let (member, name) = (draw.pick(kind.members), kind.name);
    let first = match draw.below(4) {
        0 => format!("{} is {}", a(member.one), a(name.one)),
        1 => format!("all {} are {}", member.many, name.many),
        2 => format!("every {} is {}", member.one, a(name.one)),
        _ => format!("{} is a kind of {}", a(member.one), name.one),
    };
    match draw.below(5) {
        0 => document(&first, &format!("not all {} are {}", name.many, member.many)),
        1 => document(&first, &format!("no {} is {}", other.name.one, a(member.one))),
        2 => document(&first, &format!("{} is {}, too", a(member.one), a(top.one))),
        3 => document(&first, &format!("{} is not {}", a(member.one), a(other.name.one))),
        _ => document(&first, &format!("all {} are {}", name.many, top.many)),
    }
}

/// To run is to move. To move is not always to run.
fn kind_of_doing(draw: &Draw) -> Document {
    let kind = draw.pick([ACTIONS, DEEDS, USES][draw.below(3)]);
    let (way, general) = (draw.pick(kind.members), kind.name);
    match draw.below(3) {
        0 => document(
            &format!("to {} is to {}", way.base, general.base),
            &format!("to {} is not always to {}", general.base, way.base),
        ),
        1 => document(
            &format!("whoever {} also {}", way.past, general.past),
            &format!("not everybody who {} {}", general.past, way.past),
        ),
        _ => document(
            &format!("one can {} in many ways", general.base),
            &format!("one of them is to {}", way.base),
        ),
    }
}

/// The old dog waited. It was not young.
fn quality(draw: &Draw) -> Document {
    let ([being], [did, then]) = (beings(draw), actions(draw));
    let [is, is_not] = draw.distinct(&draw.pick(QUALITIES).plain);
    let first = format!("{}the {is} {} {}", setting(draw), being.one, did.past);
    match draw.below(4) {
        0 => document(&first, &format!("the {} was not {is_not}", being.one)),
        1 => document(&first, &format!("then the {} {}", being.one, then.past)),
        2 => document(&first, &format!("it was {} {} that {}", a(is), being.one, did.past)),
        _ => document(&first, &format!("the {} that {} was {is}", being.one, did.past)),
    }
}

fn pronoun(name: &str) -> &'static str {
    if NAMES[0].contains(&name) { "she" } else { "he" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_text_again() {
        let start = |seed| text(seed).take(100).collect::<Vec<_>>();
        assert_eq!(start(1), start(1));
        assert_ne!(start(1), start(2));
    }

    #[test]
    fn no_premise_of_the_task_is_in_the_text() {
        let task = task();
        let pairs = [&task.train, &task.validation, &task.test].into_iter().flatten();
        let premises: HashSet<&str> = pairs.map(|pair| pair.premise.as_str()).collect();
        for Document { first, second, .. } in first_text(1).take(20_000).chain(text(1).take(20_000))
        {
            assert!(!premises.contains(first.as_str()) && !premises.contains(second.as_str()));
        }
    }
}
