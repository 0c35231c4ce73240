//! The rules of the task: why one sentence follows from another.
//!
//! Every rule writes a hypothesis and *two* premises: one that entails it and one that does not. In most rules the two
//! premises have the same words, so that the answer depends only on who did what. In the others one word differs, and it
//! is uninformative without the hypothesis, because for another hypothesis the answers are reversed. So neither the
//! hypothesis alone nor a weighted sum over the words of both sentences determines the answer.
//! `docs/embedded-task.md` lists the rules with an example each.

use crate::draw::Draw;
use crate::grammar::{
    a, action, actions, beings, deed, different, kinds, names, predicates, setting, subjects,
    thing, using,
};
use crate::lexicon::{
    ACTIONS, ANIMAL, ANIMALS, DEEDS, NUMBERS, PEOPLE, PERSON, PLACES, QUALITIES, THINGS, TRANSFERS,
};

/// A hypothesis with the two premises of a rule, as clauses without capital letter and full stop.
#[derive(Debug, Clone)]
pub(crate) struct Twins {
    /// Follows from `entailing` and not from `other`.
    pub(crate) hypothesis: String,
    /// The premise that entails the hypothesis.
    pub(crate) entailing: String,
    /// The premise that does not.
    pub(crate) other: String,
}

/// A way to write [`Twins`].
pub(crate) type Rule = fn(&Draw) -> Twins;

/// The rules by name.
pub(crate) const RULES: [(&str, Rule); 23] = [
    ("conjunction", conjunction),
    ("disjunction", disjunction),
    ("negation", negation),
    ("implicative", implicative),
    ("role", role),
    ("transfer", transfer),
    ("relative clause", relative_clause),
    ("modifier", modifier),
    ("opposite", opposite),
    ("comparison", comparison),
    ("hypernym", hypernym),
    ("general verb", general_verb),
    ("quantifier", quantifier),
    ("number", number),
    ("place", place),
    ("time", time),
    ("kind of noun", kind_of_noun),
    ("kind of action", kind_of_action),
    ("other quality", other_quality),
    ("converse", converse),
    ("other side", other_side),
    ("truth", truth),
    ("count", count),
];

/// The number of rules, the first in the list, whose two premises have the same words.
#[cfg(test)]
const SAME_WORDS: usize = 16;

/// The premise is `write(x, y)` if the hypothesis follows, and `write(y, x)` if not.
fn swap<T>(hypothesis: &str, setting: &str, x: T, y: T, write: impl Fn(&T, &T) -> String) -> Twins {
    Twins {
        hypothesis: hypothesis.to_owned(),
        entailing: format!("{setting}{}", write(&x, &y)),
        other: format!("{setting}{}", write(&y, &x)),
    }
}

/// Two clauses in either order.
fn joined(word: &str, flipped: bool, first: String, second: String) -> String {
    match flipped {
        false => format!("{first} {word} {second}"),
        true => format!("{second} {word} {first}"),
    }
}

/// Anna waited and Boris ran ⊨ Anna waited.
fn conjunction(draw: &Draw) -> Twins {
    let ([x, y], [did, other]) = (subjects(draw), predicates(draw));
    let (setting, flipped) = (setting(draw), draw.coin());
    let word = *draw.pick(&["and", "while", "but"]);
    let (did, other) = (did.past(), other.past());
    swap(&format!("{x} {did}"), &setting, x, y, |x, y| {
        joined(word, flipped, format!("{x} {did}"), format!("{y} {other}"))
    })
}

/// Anna and Boris waited, and Carl or David ran ⊨ Anna waited; but not with `or` instead of `and`.
fn disjunction(draw: &Draw) -> Twins {
    let ([who, second, third, fourth], [did, other]) = (subjects(draw), predicates(draw));
    let (setting, flipped, first) = (setting(draw), draw.coin(), draw.coin());
    let (did, other) = (did.past(), other.past());
    swap(&format!("{who} {did}"), &setting, "and", "or", |x, y| {
        let couple =
            if first { format!("{who} {x} {second}") } else { format!("{second} {x} {who}") };
        joined("while", flipped, format!("{couple} {did}"), format!("{third} {y} {fourth} {other}"))
    })
}

/// Anna did not wait, but Boris did ⊨ Anna did not wait, and Boris waited.
fn negation(draw: &Draw) -> Twins {
    let ([x, y], [did]) = (subjects(draw), predicates(draw));
    let (setting, flipped) = (setting(draw), draw.coin());
    let base = did.base();
    let write = |x: &String, y: &String| match flipped {
        false => format!("{x} did not {base}, but {y} did"),
        true => format!("{y} did {base}, but {x} did not"),
    };
    match draw.coin() {
        true => swap(&format!("{x} did not {base}"), &setting, x, y, write),
        false => swap(&format!("{y} {}", did.past()), &setting, x, y, write),
    }
}

/// Anna managed to wait, but Boris failed to ⊨ Anna waited, and Boris did not wait.
fn implicative(draw: &Draw) -> Twins {
    let ([x, y], [did]) = (subjects(draw), predicates(draw));
    let (setting, flipped) = (setting(draw), draw.coin());
    let base = did.base();
    let positive = *draw.pick(&["managed to", "remembered to", "dared to"]);
    let negative = *draw.pick(&["failed to", "forgot to", "refused to"]);
    let write = |x: &String, y: &String| match flipped {
        false => format!("{x} {positive} {base}, but {y} {negative}"),
        true => format!("{y} {negative} {base}, but {x} {positive}"),
    };
    match draw.coin() {
        true => swap(&format!("{x} {}", did.past()), &setting, x, y, write),
        false => swap(&format!("{y} did not {base}"), &setting, x, y, write),
    }
}

/// Anna chased the dog ⊨ the dog was chased by Anna.
fn role(draw: &Draw) -> Twins {
    let [x, y] = subjects(draw);
    let (verb, setting) = (deed(draw), setting(draw));
    let active = |x: &String, y: &String| format!("{x} {} {y}", verb.past);
    let passive = |x: &String, y: &String| format!("{y} was {} by {x}", verb.participle);
    match draw.below(3) {
        0 => swap(&passive(&x, &y), &setting, x, y, active),
        1 => swap(&active(&x, &y), &setting, x, y, passive),
        _ => {
            let place = draw.pick(PLACES);
            swap(&active(&x, &y), &setting, x, y, |x, y| format!("{} {place}", active(x, y)))
        }
    }
}

/// Anna gave a kite to Boris ⊨ Boris received a kite from Anna.
fn transfer(draw: &Draw) -> Twins {
    let [x, y] = names(draw);
    let (transfer, thing, setting) = (draw.pick(TRANSFERS), a(thing(draw).one), setting(draw));
    let giving =
        |x: &&str, y: &&str| format!("{x} {} {thing} {} {y}", transfer.giving.0, transfer.giving.1);
    let receiving = |x: &&str, y: &&str| {
        format!("{y} {} {thing} {} {x}", transfer.receiving.0, transfer.receiving.1)
    };
    match draw.coin() {
        true => swap(&receiving(&x, &y), &setting, x, y, giving),
        false => swap(&giving(&x, &y), &setting, x, y, receiving),
    }
}

/// The dog that chased Anna waited ⊨ the dog waited.
fn relative_clause(draw: &Draw) -> Twins {
    let [x, y] = beings(draw).map(|noun| format!("the {}", noun.one));
    let (verb, did, setting) = (deed(draw), action(draw), setting(draw));
    let hypothesis = match draw.coin() {
        true => format!("{x} {}", did.past),
        false => format!("{x} {} {y}", verb.past),
    };
    swap(&hypothesis, &setting, x, y, |x, y| format!("{x} that {} {y} {}", verb.past, did.past))
}

/// The old dog chased the young owl ⊨ the dog chased the young owl.
fn modifier(draw: &Draw) -> Twins {
    let ([agent, patient], verb, setting) = (beings(draw), deed(draw), setting(draw));
    let [x, y] = different(draw, |draw| draw.pick(QUALITIES).plain[draw.below(2)], |word| *word);
    let (agent, verb, patient) = (agent.one, verb.past, patient.one);
    let hypothesis = match draw.coin() {
        true => format!("the {x} {agent} {verb} the {patient}"),
        false => format!("the {agent} {verb} the {y} {patient}"),
    };
    swap(&hypothesis, &setting, x, y, |x, y| format!("the {x} {agent} {verb} the {y} {patient}"))
}

/// The dog was old and the owl was young ⊨ the dog was not young.
fn opposite(draw: &Draw) -> Twins {
    let ([x, y], setting, flipped) = (subjects(draw), setting(draw), draw.coin());
    let quality = draw.pick(QUALITIES);
    let [is, is_not] = draw.distinct(&quality.plain);
    swap(&format!("{x} was not {is_not}"), &setting, x, y, |x, y| {
        joined("and", flipped, format!("{x} was {is}"), format!("{y} was {is_not}"))
    })
}

/// Anna is older than Boris and Boris is older than Carl ⊨ Anna is older than Carl, and Carl younger than Anna.
fn comparison(draw: &Draw) -> Twins {
    let [x, middle, y] = subjects(draw);
    let [more, less] = draw.distinct(&draw.pick(QUALITIES).comparative);
    let less = format!("{y} is {less} than {x}");
    let chain = |x: &String, y: &String| {
        format!("{x} is {more} than {middle} and {middle} is {more} than {y}")
    };
    match draw.below(3) {
        0 => swap(&less, "", x, y, |x, y| format!("{x} is {more} than {y}")),
        1 => swap(&less, "", x, y, chain),
        _ => swap(&format!("{x} is {more} than {y}"), "", x, y, chain),
    }
}

/// A poodle waited and an owl ran ⊨ a dog waited, or an animal; but a dog need not be a poodle. No dog ran ⊨ no
/// poodle ran. Anna painted a rose ⊨ Anna painted a flower.
fn hypernym(draw: &Draw) -> Twins {
    let [kind, other_kind] = kinds(draw);
    let [x, y] = [kind, other_kind].map(|kind| draw.pick(kind.members).one);
    let (setting, flipped) = (setting(draw), draw.coin());
    let [did, other] = actions(draw).map(|verb| verb.past);
    let some = |x: &&str, y: &&str| {
        joined("and", flipped, format!("{} {did}", a(x)), format!("{} {other}", a(y)))
    };
    match draw.below(5) {
        0 => swap(&format!("{} {did}", a(kind.name.one)), &setting, x, y, some),
        1 => {
            let [x, y] = [ANIMALS, PEOPLE].map(|kinds| draw.pick(draw.pick(kinds).members).one);
            let (general, x, y) = if draw.coin() { (ANIMAL.one, x, y) } else { (PERSON.one, y, x) };
            swap(&format!("{} {did}", a(general)), &setting, x, y, some)
        }
        2 => swap(&format!("{} {did}", a(x)), &setting, x, kind.name.one, some),
        3 => {
            swap(&format!("no {x} {did}"), &setting, kind.name.one, other_kind.name.one, |x, y| {
                joined("and", flipped, format!("no {x} {did}"), format!("no {y} {other}"))
            })
        }
        _ => {
            let ([who, else_who], use_of) = (subjects(draw), using(draw).past);
            let [kind, other_kind] = draw.distinct(THINGS);
            let [x, y] = [kind, other_kind].map(|kind| draw.pick(kind.members).one);
            swap(&format!("{who} {use_of} {}", a(kind.name.one)), &setting, x, y, |x, y| {
                joined(
                    "and",
                    flipped,
                    format!("{who} {use_of} {}", a(x)),
                    format!("{else_who} {use_of} {}", a(y)),
                )
            })
        }
    }
}

/// Anna hugged the dog and Boris saw the dog ⊨ Anna touched the dog; but who touches need not hug.
fn general_verb(draw: &Draw) -> Twins {
    let [who, other, whom] = subjects(draw);
    let (setting, flipped, alone) = (setting(draw), draw.coin(), draw.coin());
    let object = if alone { String::new() } else { format!(" {whom}") };
    let [kind, other_kind] = draw.distinct(if alone { ACTIONS } else { DEEDS });
    let special = draw.pick(kind.members).past;
    let (did, x, y) = match draw.coin() {
        true => (kind.name.past, special, draw.pick(other_kind.members).past),
        false => (special, special, kind.name.past),
    };
    swap(&format!("{who} {did}{object}"), &setting, x, y, |x, y| {
        joined("and", flipped, format!("{who} {x}{object}"), format!("{other} {y}{object}"))
    })
}

/// Each quantifier with those that it implies. The nouns always denote at least one being.
const QUANTIFIERS: [(&str, &[&str]); 5] = [
    ("all", &["all", "most", "some"]),
    ("most", &["most", "some"]),
    ("some", &["some"]),
    ("no", &["no", "not all"]),
    ("not all", &["not all"]),
];

/// Most dogs waited and no owls waited ⊨ some dogs waited, and not all owls waited. All dogs waited ⊨ all poodles
/// waited.
fn quantifier(draw: &Draw) -> Twins {
    let ([kind, other], did, flipped) = (kinds(draw), action(draw).past, draw.coin());
    let said = draw.pick(&QUANTIFIERS).0;
    let quantifier = |implying: bool| {
        let fitting: Vec<&str> = QUANTIFIERS
            .iter()
            .filter(|(_, implied)| implied.contains(&said) == implying)
            .map(|(quantifier, _)| *quantifier)
            .collect();
        *draw.pick(&fitting)
    };
    let (implying, not) = (quantifier(true), quantifier(false));
    let members = matches!(said, "all" | "no") && draw.coin();
    let of_whom = if members { draw.pick(kind.members) } else { &kind.name };
    swap(
        &format!("{said} {} {did}", of_whom.many),
        &setting(draw),
        kind.name.many,
        other.name.many,
        |x, y| joined("and", flipped, format!("{implying} {x} {did}"), format!("{not} {y} {did}")),
    )
}

/// Seven dogs and three owls waited ⊨ at least five dogs waited, and fewer than five owls did.
fn number(draw: &Draw) -> Twins {
    let ([x, y], did, flipped) = (beings(draw), action(draw).past, draw.coin());
    let few = draw.below(NUMBERS.len() - 1);
    let many = few + 1 + draw.below(NUMBERS.len() - 1 - few);
    let between = NUMBERS[few + 1 + draw.below(many - few)];
    let hypothesis = match draw.below(4) {
        0 => format!("exactly {} {} {did}", NUMBERS[many], x.many),
        1 => format!("exactly {} {} {did}", NUMBERS[few], y.many),
        2 => format!("at least {between} {} {did}", x.many),
        _ => format!("fewer than {between} {} {did}", y.many),
    };
    let (few, many) = (NUMBERS[few], NUMBERS[many]);
    swap(&hypothesis, &setting(draw), x.many, y.many, |x, y| {
        format!("{} {did}", joined("and", flipped, format!("{many} {x}"), format!("{few} {y}")))
    })
}

/// Anna waited in the park and Boris ran in the tent ⊨ Anna was in the park.
fn place(draw: &Draw) -> Twins {
    let ([who, other], [did, did_other]) = (subjects(draw), actions(draw).map(|verb| verb.past));
    let ([x, y], flipped) = (draw.distinct(PLACES), draw.coin());
    swap(&format!("{who} was {x}"), &setting(draw), x, y, |x, y| {
        joined("and", flipped, format!("{who} {did} {x}"), format!("{other} {did_other} {y}"))
    })
}

/// Anna waited before Boris ran ⊨ Boris ran after Anna waited.
fn time(draw: &Draw) -> Twins {
    let ([who, other], [did, did_other]) = (subjects(draw), predicates(draw));
    let x = format!("{who} {}", did.past());
    let y = format!("{other} {}", did_other.past());
    let before = |x: &String, y: &String| format!("{x} before {y}");
    let after = |x: &String, y: &String| format!("{y} after {x}");
    match draw.coin() {
        true => swap(&after(&x, &y), &setting(draw), x, y, before),
        false => swap(&before(&x, &y), &setting(draw), x, y, after),
    }
}

/// A poodle waited ⊨ a dog waited; but not: a crow waited. Anna painted a rose ⊨ Anna painted a flower.
fn kind_of_noun(draw: &Draw) -> Twins {
    let (setting, things) = (setting(draw), draw.one_in(3));
    let kinds = if things { THINGS } else { draw.pick(&[ANIMALS, PEOPLE]) };
    let [kind, other] = draw.distinct(kinds);
    let [x, y] = [kind, other].map(|kind| draw.pick(kind.members).one);
    let ([who], did, use_of) = (subjects(draw), action(draw).past, using(draw).past);
    let write = |noun: &str| match things {
        true => format!("{who} {use_of} {}", a(noun)),
        false => format!("{} {did}", a(noun)),
    };
    swap(&write(kind.name.one), &setting, x, y, |x, _| write(x))
}

/// Anna hugged the dog ⊨ Anna touched the dog; but not: Anna watched the dog.
fn kind_of_action(draw: &Draw) -> Twins {
    let ([who, whom], alone) = (subjects(draw), draw.coin());
    let [kind, other] = draw.distinct(if alone { ACTIONS } else { DEEDS });
    let [x, y] = [kind, other].map(|kind| draw.pick(kind.members).past);
    let object = if alone { String::new() } else { format!(" {whom}") };
    let write = |did: &str| format!("{who} {did}{object}");
    swap(&write(kind.name.past), &setting(draw), x, y, |x, _| write(x))
}

/// The dog was old ⊨ the dog was not young; but not: the dog was big.
fn other_quality(draw: &Draw) -> Twins {
    let ([who], [quality, other]) = (subjects(draw), draw.distinct(QUALITIES));
    let ([x, not], y) = (draw.distinct(&quality.plain), draw.pick(&other.plain));
    swap(&format!("{who} was not {not}"), &setting(draw), x, y, |x, _| format!("{who} was {x}"))
}

/// Anna is older than Boris ⊨ Boris is younger than Anna; but not: Anna is taller than Boris.
fn converse(draw: &Draw) -> Twins {
    let ([who, whom], [quality, other]) = (subjects(draw), draw.distinct(QUALITIES));
    let ([x, less], y) = (draw.distinct(&quality.comparative), draw.pick(&other.comparative));
    swap(&format!("{whom} is {less} than {who}"), "", x, y, |x, _| {
        format!("{who} is {x} than {whom}")
    })
}

/// Anna sold a kite to Boris ⊨ Boris bought a kite from Anna; but not: Anna lent a kite to Boris.
fn other_side(draw: &Draw) -> Twins {
    let ([giver, taker], thing) = (names(draw), a(thing(draw).one));
    let ([transfer, other], setting) = (draw.distinct(TRANSFERS), setting(draw));
    let giving = |side: (&str, &str)| format!("{giver} {} {thing} {} {taker}", side.0, side.1);
    let receiving = |side: (&str, &str)| format!("{taker} {} {thing} {} {giver}", side.0, side.1);
    match draw.coin() {
        true => {
            swap(&receiving(transfer.receiving), &setting, transfer, other, |x, _| giving(x.giving))
        }
        false => {
            swap(&giving(transfer.giving), &setting, transfer, other, |x, _| receiving(x.receiving))
        }
    }
}

/// It is true that Anna waited ⊨ Anna waited; it is false that she did ⊨ Anna did not wait.
fn truth(draw: &Draw) -> Twins {
    let ([who], did) = (subjects(draw), action(draw));
    let [yes, no] =
        *draw.pick(&[["true", "false"], ["certain", "impossible"], ["a fact", "a lie"]]);
    let (waited, did_not) = (format!("{who} {}", did.past), format!("{who} did not {}", did.base));
    let write = |x: &&str, _: &&str| format!("it is {x} that {waited}");
    match draw.coin() {
        true => swap(&waited, "", yes, no, write),
        false => swap(&did_not, "", no, yes, write),
    }
}

/// Seven dogs waited ⊨ at least five dogs waited; but not: three dogs waited, of which follows: fewer than five did.
fn count(draw: &Draw) -> Twins {
    let ([who], did) = (beings(draw), action(draw).past);
    let few = draw.below(NUMBERS.len() - 1);
    let many = few + 1 + draw.below(NUMBERS.len() - 1 - few);
    let between = NUMBERS[few + 1 + draw.below(many - few)];
    let (few, many, setting) = (NUMBERS[few], NUMBERS[many], setting(draw));
    let write = |x: &&str, _: &&str| format!("{x} {} {did}", who.many);
    match draw.coin() {
        true => swap(&format!("at least {between} {} {did}", who.many), &setting, many, few, write),
        false => {
            swap(&format!("fewer than {between} {} {did}", who.many), &setting, few, many, write)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words: Vec<_> = text
            .to_lowercase()
            .split([' ', ',', '.'])
            .filter(|word| !word.is_empty())
            .map(String::from)
            .collect();
        words.sort();
        words
    }

    #[test]
    fn both_premises_have_the_same_words_and_differ() {
        for (name, rule) in &RULES[..SAME_WORDS] {
            let draw = Draw::new(1, 0);
            for _ in 0..500 {
                let twins = rule(&draw);
                assert_ne!(twins.entailing, twins.other, "{name}");
                assert_eq!(words(&twins.entailing), words(&twins.other), "{name}");
            }
        }
    }

    #[test]
    fn a_hypothesis_differs_from_its_premises() {
        for (name, rule) in RULES {
            let draw = Draw::new(2, 0);
            for _ in 0..500 {
                let Twins { hypothesis, entailing, other } = rule(&draw);
                assert!(hypothesis != entailing && hypothesis != other, "{name}: {hypothesis}");
            }
        }
    }
}
