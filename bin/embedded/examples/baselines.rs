//! The accuracy of shallow baselines on the task: logistic regression over words.
//!
//! `cargo run --release -p embedded --example baselines`
#![allow(clippy::print_stdout, reason = "an example")]

use std::collections::{HashMap, HashSet};

use embedded::{Pair, task};

/// The features of a pair that a baseline uses.
type Features = fn(&Pair) -> Vec<String>;

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split([' ', ',', '.']).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn hypothesis(pair: &Pair) -> Vec<String> {
    words(&pair.hypothesis).map(|word| format!("hypothesis {word}")).collect()
}

fn premise(pair: &Pair) -> Vec<String> {
    words(&pair.premise).map(|word| format!("premise {word}")).collect()
}

fn both(pair: &Pair) -> Vec<String> {
    [premise(pair), hypothesis(pair)].concat()
}

/// The words of both, the shared words, the words only in the hypothesis, and the count of each.
fn overlap(pair: &Pair) -> Vec<String> {
    let premise: HashSet<String> = words(&pair.premise).collect();
    let shared = words(&pair.hypothesis).map(|word| match premise.contains(&word) {
        true => format!("shared {word}"),
        false => format!("new {word}"),
    });
    let shared: Vec<String> = shared.collect();
    let new = shared.iter().filter(|word| word.starts_with("new")).count();
    [both(pair), shared, vec![format!("{new} new words")]].concat()
}

/// The bigrams of the hypothesis and of the premise.
fn neighbours(pair: &Pair) -> Vec<String> {
    let of = |side: &str, text: &str| {
        let words: Vec<String> = words(text).collect();
        words.windows(2).map(|two| format!("{side} {}", two.join(" "))).collect::<Vec<_>>()
    };
    [both(pair), of("premise", &pair.premise), of("hypothesis", &pair.hypothesis)].concat()
}

/// Logistic regression by stochastic gradient descent, with slight weight decay; the accuracy on `test`.
fn accuracy(features: Features, train: &[Pair], test: &[Pair]) -> f64 {
    let mut weights: HashMap<String, f64> = HashMap::new();
    let score = |weights: &HashMap<String, f64>, found: &[String]| -> f64 {
        found.iter().filter_map(|feature| weights.get(feature)).sum()
    };
    for epoch in 0..30 {
        let rate = 0.1 / (1.0 + f64::from(epoch));
        for pair in train {
            let found = features(pair);
            let probability = 1.0 / (1.0 + (-score(&weights, &found)).exp());
            let error = f64::from(u8::from(pair.entailed)) - probability;
            for feature in found {
                let weight = weights.entry(feature).or_default();
                *weight += rate * (error - 0.01 * *weight);
            }
        }
    }
    let right = |pair: &&Pair| (score(&weights, &features(pair)) > 0.0) == pair.entailed;
    test.iter().filter(right).count() as f64 / test.len() as f64
}

fn main() {
    let task = task();
    println!("| logistic regression over | train | validation | test |\n|---|---|---|---|");
    let baselines: [(&str, Features); 5] = [
        ("the hypothesis's words", hypothesis),
        ("the premise's words", premise),
        ("the words of both", both),
        ("the same, and which words they share", overlap),
        ("the words of both, and pairs of neighbours", neighbours),
    ];
    for (name, features) in baselines {
        let [train, validation, test] = [&task.train, &task.validation, &task.test]
            .map(|split| 100.0 * accuracy(features, &task.train, split));
        println!("| {name} | {train:.1} % | {validation:.1} % | {test:.1} % |");
    }
}
