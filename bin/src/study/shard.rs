//! The share of a study that one process computes.

use std::str::FromStr;

/// Every `of`th run, beginning with the `index`th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Counted from 1.
    pub index: usize,
    /// The number of shards.
    pub of: usize,
}

impl Shard {
    /// The only shard.
    pub(crate) const WHOLE: Self = Self { index: 1, of: 1 };

    /// Whether it has the run of this index, counted from 0.
    pub(super) fn contains(self, run: usize) -> bool {
        run % self.of == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| {
            Some(Self { index: index.parse().ok()?, of: of.parse().ok()? })
        });
        numbers
            .filter(|shard| (1..=shard.of).contains(&shard.index))
            .ok_or_else(|| format!("{text:?} is not I/N with I from 1 to N, such as 2/8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_parsed_and_divide_the_runs() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().expect(text)).into();
        for run in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.contains(run)).count(), 1);
        }
        for text in ["0/3", "4/3", "1", "1/0", "a/b", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
