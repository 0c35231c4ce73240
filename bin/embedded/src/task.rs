//! The task: pairs of sentences, and whether the second follows from the first.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::draw::Draw;
use crate::grammar::sentence;
use crate::rules::RULES;

/// Seeds the task.
const SEED: u64 = 20_201;

/// A premise, a hypothesis, and whether it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What is so.
    pub premise: String,
    /// What may follow.
    pub hypothesis: String,
    /// Whether it does.
    pub entailed: bool,
    /// The name of the rule that wrote the pair.
    pub rule: &'static str,
}

/// The task's splits, of the sizes of RTE's.
#[derive(Debug)]
pub struct Task {
    /// 2490 pairs to train on.
    pub train: Vec<Pair>,
    /// 277 pairs to choose by.
    pub validation: Vec<Pair>,
    /// 3000 pairs to report on, labelled too.
    pub test: Vec<Pair>,
}

/// The task, the same on every machine. It is generated on first use, in milliseconds.
///
/// In every split half the pairs (of 277: 139) are entailed, and the rules take turns. No premise appears twice in the
/// whole task, so none is shared between splits.
pub fn task() -> &'static Task {
    static TASK: LazyLock<Task> = LazyLock::new(|| {
        let mut premises = HashSet::new();
        let mut split = |stream, size| {
            let draw = Draw::new(SEED, stream);
            let mut pairs: Vec<Pair> =
                (0..size).map(|index| pair(&draw, index, &mut premises)).collect();
            draw.shuffle(&mut pairs);
            pairs
        };
        Task { train: split(0, 2490), validation: split(1, 277), test: split(2, 3000) }
    });
    &TASK
}

/// The next pair with a premise that is not among `premises`: labels alternate, rules take turns.
fn pair(draw: &Draw, index: usize, premises: &mut HashSet<String>) -> Pair {
    let entailed = index.is_multiple_of(2);
    let (rule, write) = RULES[index / 2 % RULES.len()];
    loop {
        let twins = write(draw);
        let premise = sentence(if entailed { &twins.entailing } else { &twins.other });
        if premises.insert(premise.clone()) {
            return Pair { premise, hypothesis: sentence(&twins.hypothesis), entailed, rule };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits() -> [&'static [Pair]; 3] {
        let task = task();
        [&task.train, &task.validation, &task.test]
    }

    #[test]
    fn the_sizes_are_rtes_and_labels_are_balanced() {
        assert_eq!(splits().map(<[Pair]>::len), [2490, 277, 3000]);
        let entailed = splits().map(|pairs| pairs.iter().filter(|pair| pair.entailed).count());
        assert_eq!(entailed, [1245, 139, 1500]);
    }

    #[test]
    fn no_premise_appears_twice() {
        let all: Vec<_> = splits().concat();
        let premises: HashSet<_> = all.iter().map(|pair| &pair.premise).collect();
        assert_eq!(premises.len(), all.len());
    }
}
