//! The task: pairs of sentences, and whether the second follows from the first.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::draw::Draw;
use crate::grammar::sentence;
use crate::rules::RULES;

/// The seed of the task.
const SEED: u64 = 20_201;

/// A premise, a hypothesis, and whether it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The sentence known to be true.
    pub premise: String,
    /// The sentence that may follow from the premise.
    pub hypothesis: String,
    /// Whether the hypothesis follows.
    pub entailed: bool,
    /// The name of the rule that wrote the pair.
    pub rule: &'static str,
}

/// The task's splits, of the sizes of RTE's.
#[derive(Debug)]
pub struct Task {
    /// 2490 pairs for training.
    pub train: Vec<Pair>,
    /// 277 pairs for model selection.
    pub validation: Vec<Pair>,
    /// 3000 pairs for the final evaluation, labelled as well.
    pub test: Vec<Pair>,
}

/// The task, the same on every machine. It is generated on first use, in milliseconds.
///
/// In every split half the pairs (of 277: 139) are entailed, and the rules alternate. No premise appears twice in the
/// task, so none is shared between splits.
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

/// The next pair with a premise that is not among `premises`: labels and rules alternate.
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
