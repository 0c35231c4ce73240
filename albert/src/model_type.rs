//! The kinds of models, and what differs between them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The architecture, under the name that `config.json` has for it in `model_type`.
///
/// All are the same [`Encoder`](crate::Encoder), but for:
///
/// | | ALBERT | BERT | RoBERTa, XLM-RoBERTa |
/// |---|---|---|---|
/// | embeddings | projected to `hidden_size` | of `hidden_size` | of `hidden_size` |
/// | parameters of a layer | shared within its group | its own | its own |
/// | dropout in the feed-forward network | no | yes | yes |
/// | positions | from 0 | from 0 | from `pad_token_id` + 1, tokens other than padding counted |
/// | between encoder and classifier | the encoder's pooler | the encoder's pooler | a linear layer and tanh of the classifier's own |
///
/// The names of the parameters in a weights file differ, too. XLM-RoBERTa is RoBERTa with another vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum ModelType {
    /// `albert`
    #[default]
    Albert,
    /// `bert`
    Bert,
    /// `roberta`
    Roberta,
    /// `xlm-roberta`
    XlmRoberta,
}

impl ModelType {
    /// The name in `config.json`, such as `xlm-roberta`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Albert => "albert",
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
        }
    }

    /// What the names of Hugging Face's Python classes begin with.
    pub(crate) fn class_prefix(self) -> &'static str {
        match self {
            Self::Albert => "Albert",
            Self::Bert => "Bert",
            Self::Roberta => "Roberta",
            Self::XlmRoberta => "XLMRoberta",
        }
    }

    /// What the encoder's parameters begin with in the weights of a model with a head.
    pub(crate) fn encoder_prefix(self) -> &'static str {
        match self {
            Self::Albert => "albert.",
            Self::Bert => "bert.",
            Self::Roberta | Self::XlmRoberta => "roberta.",
        }
    }

    /// Whether embeddings are projected and layers share parameters.
    pub(crate) fn is_albert(self) -> bool {
        self == Self::Albert
    }

    /// Whether positions count from the padding token's id and the classifier takes the pooler's part.
    pub(crate) fn is_roberta(self) -> bool {
        matches!(self, Self::Roberta | Self::XlmRoberta)
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for ModelType {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        [Self::Albert, Self::Bert, Self::Roberta, Self::XlmRoberta]
            .into_iter()
            .find(|model_type| model_type.name() == name)
            .ok_or_else(|| {
                format!(
                    "`{name}` is not supported; use a model of the type `albert`, `bert`, `roberta` or `xlm-roberta`"
                )
            })
    }
}
