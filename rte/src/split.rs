//! The splits of a data set and their names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::RteError;

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The training split.
    Train,
    /// The validation split, also called `dev` (GLUE) or `val` (SuperGLUE); in MNLI the matched one.
    Validation,
    /// The test split, whose labels GLUE does not publish; in MNLI the matched one.
    Test,
    /// MNLI's validation split of other genres than those of the training split.
    ValidationMismatched,
    /// MNLI's test split of other genres than those of the training split.
    TestMismatched,
}

impl Split {
    /// Every split, in the order they are used.
    pub const ALL: [Self; 5] = [
        Self::Train,
        Self::Validation,
        Self::Test,
        Self::ValidationMismatched,
        Self::TestMismatched,
    ];

    /// The names this split goes by, the canonical one first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Validation => {
                &["validation", "val", "dev", "validation_matched", "val_matched", "dev_matched"]
            }
            Self::Test => &["test", "test_matched"],
            Self::ValidationMismatched => {
                &["validation_mismatched", "val_mismatched", "dev_mismatched"]
            }
            Self::TestMismatched => &["test_mismatched"],
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.names()[0])
    }
}

impl FromStr for Split {
    type Err = RteError;

    fn from_str(name: &str) -> Result<Self, RteError> {
        Self::ALL
            .into_iter()
            .find(|split| split.names().contains(&name))
            .ok_or_else(|| RteError::UnknownSplit { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_the_canonical_one_is_displayed() {
        for split in Split::ALL {
            for name in split.names() {
                assert_eq!(name.parse::<Split>().unwrap(), split);
            }
            assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
        }
        for name in ["dev", "validation_matched", "dev_matched"] {
            assert_eq!(name.parse::<Split>().unwrap().to_string(), "validation");
        }
    }

    #[test]
    fn another_name_is_refused_with_the_names_there_are() {
        assert_eq!(
            "Train".parse::<Split>().unwrap_err().to_string(),
            "unknown split \"Train\"; the splits are train, validation (dev, val) and test, and validation_mismatched and test_mismatched of MNLI"
        );
    }
}
