//! How the optimizer treats each parameter, besides its decay: its learning rate, and whether it is frozen.
//!
//! Paths are those of the classifier, as `encoder.layer_groups.0.layers.0.ffn.weight`; in [`FineTuning`](super::step::FineTuning)
//! they begin with `model.`.

use adamw_l2sp::Groups;
use albert::ModelConfig;
use burn::tensor::backend::Backend;
use regex::Regex;

use crate::ProgramError;
use crate::settings::Settings;

/// What the paths of [`FineTuning`](super::step::FineTuning) begin with.
pub(super) const MODEL: &str = "model.";

/// Classifier and pooler.
const HEAD: &str = r"^model\.(classifier|dense|encoder\.pooler)\.";

/// Embeddings, and their projection in ALBERT.
const EMBEDDINGS: &str = r"^model\.encoder\.embedding";

/// `groups` with the learning rates of `--layer-decay` and `--head-learning-rate`.
///
/// # Errors
/// `--layer-decay` for a model whose layers share their parameters.
pub(super) fn with_learning_rates<B: Backend>(
    mut groups: Groups<B>,
    settings: &Settings,
    config: &ModelConfig,
) -> Result<Groups<B>, ProgramError> {
    if let Some(factor) = settings.layer_decay {
        config
            .check_layers_unshared()
            .map_err(|error| ProgramError::Mismatch(format!("--layer-decay: {error}")))?;
        let layers = config.num_hidden_layers;
        groups = groups.learning_rate_scale_matching(EMBEDDINGS, factor.powf(layers as f64));
        for layer in 0..layers {
            let path = format!("{MODEL}encoder.layer_groups.{layer}");
            groups = groups.learning_rate_scale(&path, factor.powf((layers - 1 - layer) as f64));
        }
    }
    if let Some(learning_rate) = settings.head_learning_rate {
        groups = groups.learning_rate_scale_matching(HEAD, learning_rate / settings.learning_rate);
    }
    Ok(groups)
}

/// `groups` with the parameters frozen that a pattern of `--freeze` matches; `paths` are all there are.
///
/// # Errors
/// A pattern that is not a regular expression or matches nothing, patterns that leave nothing to train.
pub(super) fn with_frozen<B: Backend>(
    mut groups: Groups<B>,
    patterns: &[String],
    paths: &[&str],
) -> Result<Groups<B>, ProgramError> {
    let mut trained = paths.to_vec();
    for pattern in patterns {
        let usage = |problem| ProgramError::Usage(format!("--freeze {pattern}: {problem}"));
        let regex = Regex::new(&format!("^{}(?:{pattern})", regex::escape(MODEL)))
            .map_err(|error| usage(error.to_string()))?;
        let (frozen, others): (Vec<&str>, Vec<&str>) =
            paths.iter().partition(|path| regex.is_match(path));
        if frozen.is_empty() {
            let names = others.iter().map(|path| path.strip_prefix(MODEL).unwrap_or(path));
            let names = names.collect::<Vec<_>>().join(", ");
            return Err(usage(format!("no parameter matches; the parameters are {names}")));
        }
        trained.retain(|path| !frozen.contains(path));
        groups = frozen.into_iter().fold(groups, Groups::frozen);
    }
    if trained.is_empty() {
        let patterns = patterns.join(",");
        return Err(ProgramError::Usage(format!(
            "--freeze {patterns} leaves no parameter to train"
        )));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use adamw_l2sp::{AdamWL2SPConfig, Anchors, Role};
    use albert::{Precision, SequenceClassifier};
    use burn::backend::{Autodiff, Flex};
    use burn::module::AutodiffModule;

    use super::*;
    use crate::train::step::FineTuning;

    fn config(base: ModelConfig) -> ModelConfig {
        ModelConfig {
            vocab_size: 20,
            embedding_size: 8,
            hidden_size: 8,
            num_hidden_layers: 3,
            num_attention_heads: 2,
            intermediate_size: 8,
            ..base
        }
    }

    fn bert() -> ModelConfig {
        ModelConfig { num_hidden_groups: 3, ..config(ModelConfig::bert_base()) }
    }

    /// The role of every parameter, by its path in the classifier.
    fn roles(
        config: &ModelConfig,
        settings: &Settings,
    ) -> Result<BTreeMap<String, Role>, ProgramError> {
        let device = Default::default();
        let model = SequenceClassifier::<Autodiff<Flex>>::init(config, 1, &device);
        let model = FineTuning::new(model, Precision::Float32);
        let anchors = Anchors::from_module(&model.valid());
        let paths: Vec<&str> = anchors.names().collect();
        let groups = with_learning_rates(Groups::new(), settings, config)?;
        let groups = with_frozen(groups, &settings.freeze, &paths)?;
        let optimizer = AdamWL2SPConfig::new().init(&model, groups)?;
        let roles = optimizer.roles().iter();
        Ok(roles.map(|(path, role)| (path[MODEL.len()..].to_owned(), *role)).collect())
    }

    #[test]
    fn the_learning_rate_falls_from_the_classifier_to_the_embeddings() {
        let settings = Settings { layer_decay: Some(0.5), ..Settings::default() };
        let scales = |config: &ModelConfig, settings: &Settings| {
            let roles = roles(config, settings).expect("roles");
            move |path: &str| roles[path].learning_rate_scale
        };
        let scale = scales(&bert(), &settings);
        let weight = |layer| scale(&format!("encoder.layer_groups.{layer}.layers.0.ffn.weight"));
        assert_eq!([weight(0), weight(1), weight(2)], [0.25, 0.5, 1.0]);
        assert_eq!(scale("encoder.embeddings.layer_norm.gamma"), 0.125);
        assert_eq!(scale("encoder.pooler.weight"), 1.0);
        assert_eq!(scale("classifier.bias"), 1.0);

        let learning_rate = settings.learning_rate;
        let head = Settings { head_learning_rate: Some(10.0 * learning_rate), ..settings.clone() };
        let scale = scales(&bert(), &head);
        for (path, expected) in [
            ("classifier.weight", 10.0),
            ("encoder.pooler.bias", 10.0),
            ("encoder.layer_groups.2.layers.0.ffn.weight", 1.0),
        ] {
            assert!((scale(path) - expected).abs() < 1e-12, "{path}");
        }
        let roberta = ModelConfig { num_hidden_groups: 3, ..config(ModelConfig::roberta_base()) };
        assert!((scales(&roberta, &head)("dense.weight") - 10.0).abs() < 1e-12);

        // ALBERT's layers are one.
        let shared = config(ModelConfig::albert_base_v2());
        let error = roles(&shared, &settings).expect_err("refused").to_string();
        assert!(error.contains("--layer-decay: the model's layers share"), "{error}");
        let own = ModelConfig { num_hidden_groups: 3, ..shared };
        assert_eq!(scales(&own, &settings)("encoder.embedding_projection.weight"), 0.125);
    }

    #[test]
    fn patterns_freeze_what_they_match_from_the_beginning() {
        let frozen = |patterns: &[&str]| {
            let freeze = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            let settings = Settings { freeze, ..Settings::default() };
            let roles = roles(&bert(), &settings)?;
            let frozen = roles.into_iter().filter(|(_, role)| role.frozen);
            Ok::<_, ProgramError>(frozen.map(|(path, _)| path).collect::<Vec<_>>())
        };
        assert_eq!(frozen(&[]).expect("none"), [] as [&str; 0]);
        let embeddings = frozen(&["encoder.embeddings.*"]).expect("some");
        assert_eq!(embeddings.len(), 5, "{embeddings:?}");
        assert!(embeddings.iter().all(|path| path.starts_with("encoder.embeddings.")));
        let more = frozen(&["encoder.embeddings", r"encoder\.layer_groups\.[01]\."]).expect("more");
        assert_eq!(more.len(), 5 + 2 * 16, "{more:?}");

        let error = frozen(&["classifier", "embeddings"]).expect_err("matches nothing").to_string();
        assert!(
            error.starts_with("--freeze embeddings: no parameter matches; the parameters are "),
            "{error}"
        );
        assert!(error.contains(" classifier.bias,"), "{error}");
        let error = frozen(&["(encoder"]).expect_err("not a regex");
        assert_eq!(error.exit_code(), 2, "{error}");
        let error = frozen(&["encoder", "classifier"]).expect_err("everything").to_string();
        assert!(
            error.contains("--freeze encoder,classifier leaves no parameter to train"),
            "{error}"
        );
    }
}
