//! Hugging Face's names of the files with the weights, and of the parameters in them.
//!
//! | Burn | ALBERT | BERT and RoBERTa |
//! |---|---|---|
//! | `encoder.` | `albert.` | `bert.`, `roberta.` |
//! | `embeddings.{word,position,token_type}_embeddings` | the same | the same |
//! | `embeddings.layer_norm` | `embeddings.LayerNorm` | `embeddings.LayerNorm` |
//! | `embedding_projection` | `encoder.embedding_hidden_mapping_in` | |
//! | `layer_groups.G.layers.L.` … | `encoder.albert_layer_groups.G.albert_layers.L.` … | `encoder.layer.G.` … |
//! | … `attention.{query,key,value}` | the same | … `attention.self.{query,key,value}` |
//! | … `attention.dense` | the same | … `attention.output.dense` |
//! | … `attention.layer_norm` | … `attention.LayerNorm` | … `attention.output.LayerNorm` |
//! | … `ffn` | the same | … `intermediate.dense` |
//! | … `ffn_output` | the same | … `output.dense` |
//! | … `layer_norm` | … `full_layer_layer_norm` | … `output.LayerNorm` |
//! | `pooler` | the same | `pooler.dense` |
//! | `dense` | | RoBERTa: `classifier.dense` |
//! | `classifier` | the same | BERT: the same; RoBERTa: `classifier.out_proj` |
//! | `predictions.layer_norm` | `predictions.LayerNorm` | |
//! | `predictions.dense`, `predictions.bias` | the same | |
//! | `sop_classifier.classifier` | the same | |
//!
//! A layer norm's `gamma` and `beta` are `weight` and `bias`, in old BERT files `gamma` and `beta` as well. A linear
//! weight is `[inputs, outputs]` in Burn and `[outputs, inputs]` in a file.

use crate::model_type::ModelType;

/// The file of a model folder that holds its weights.
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";

/// The file that says which shard holds which tensor, where the weights are split.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

/// Begins the paths of the encoder's parameters in a model with a head.
pub(crate) const ENCODER: &str = "encoder.";

/// Tensors of [`AlbertForPreTraining`](crate::AlbertForPreTraining) that are one and the same in the model but may be
/// stored twice, or under the second name only.
pub(crate) const TIED: [(&str, &str); 2] = [
    ("albert.embeddings.word_embeddings.weight", "predictions.decoder.weight"),
    ("predictions.bias", "predictions.decoder.bias"),
];

/// The Hugging Face name of the parameter at a path of a Burn module.
pub(crate) fn hugging_face_name(model_type: ModelType, path: &str) -> String {
    let (prefix, path) = match path.strip_prefix(ENCODER) {
        Some(path) => (model_type.encoder_prefix(), path),
        None => ("", path),
    };
    let (module, parameter) = path.rsplit_once('.').unwrap_or(("", path));
    let parameter = match parameter {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    let module = match module.split('.').collect::<Vec<_>>().as_slice() {
        ["layer_groups", group, "layers", layer, module @ ..] if model_type.is_albert() => {
            let module = albert_layer_module(module);
            format!("encoder.albert_layer_groups.{group}.albert_layers.{layer}.{module}")
        }
        ["layer_groups", group, "layers", _, module @ ..] => {
            format!("encoder.layer.{group}.{}", bert_layer_module(module))
        }
        ["embedding_projection"] => "encoder.embedding_hidden_mapping_in".into(),
        ["pooler"] if !model_type.is_albert() => "pooler.dense".into(),
        ["dense"] => "classifier.dense".into(),
        ["classifier"] if model_type.is_roberta() => "classifier.out_proj".into(),
        _ => module.replace("layer_norm", "LayerNorm"),
    };
    format!("{prefix}{module}.{parameter}")
}

fn albert_layer_module(module: &[&str]) -> String {
    match module {
        ["attention", "layer_norm"] => "attention.LayerNorm".into(),
        ["layer_norm"] => "full_layer_layer_norm".into(),
        same => same.join("."),
    }
}

fn bert_layer_module(module: &[&str]) -> String {
    match module {
        ["attention", "dense"] => "attention.output.dense".into(),
        ["attention", "layer_norm"] => "attention.output.LayerNorm".into(),
        ["attention", projection] => format!("attention.self.{projection}"),
        ["ffn"] => "intermediate.dense".into(),
        ["ffn_output"] => "output.dense".into(),
        ["layer_norm"] => "output.LayerNorm".into(),
        same => same.join("."),
    }
}

/// The names under which a file may hold a parameter, best first: its own, with or without the encoder's prefix, that of
/// a tied copy, and the old names of a layer norm's parameters.
pub(crate) fn names_in_file(model_type: ModelType, name: &str) -> Vec<String> {
    let prefix = model_type.encoder_prefix();
    let other = match name.strip_prefix(prefix) {
        Some(bare) => bare.to_string(),
        None => format!("{prefix}{name}"),
    };
    let mut names = vec![name.to_string(), other];
    if model_type.is_albert() {
        let copies = TIED.iter().filter(|(tied, _)| names.iter().any(|name| name == tied));
        names.extend(copies.map(|(_, copy)| copy.to_string()).collect::<Vec<_>>());
    }
    for (new, old) in
        [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")]
    {
        let old_names = names.iter().filter(|name| name.ends_with(new));
        names.extend(old_names.map(|name| name.replace(new, old)).collect::<Vec<_>>());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_own_names() {
        for (path, albert, bert, roberta) in [
            (
                "encoder.embeddings.layer_norm.gamma",
                "albert.embeddings.LayerNorm.weight",
                "bert.embeddings.LayerNorm.weight",
                "roberta.embeddings.LayerNorm.weight",
            ),
            (
                "encoder.layer_groups.3.layers.0.attention.query.weight",
                "albert.encoder.albert_layer_groups.3.albert_layers.0.attention.query.weight",
                "bert.encoder.layer.3.attention.self.query.weight",
                "roberta.encoder.layer.3.attention.self.query.weight",
            ),
            (
                "layer_groups.11.layers.0.layer_norm.beta",
                "encoder.albert_layer_groups.11.albert_layers.0.full_layer_layer_norm.bias",
                "encoder.layer.11.output.LayerNorm.bias",
                "encoder.layer.11.output.LayerNorm.bias",
            ),
            (
                "encoder.pooler.bias",
                "albert.pooler.bias",
                "bert.pooler.dense.bias",
                "roberta.pooler.dense.bias",
            ),
            ("classifier.bias", "classifier.bias", "classifier.bias", "classifier.out_proj.bias"),
        ] {
            assert_eq!(hugging_face_name(ModelType::Albert, path), albert);
            assert_eq!(hugging_face_name(ModelType::Bert, path), bert);
            for model_type in [ModelType::Roberta, ModelType::XlmRoberta] {
                assert_eq!(hugging_face_name(model_type, path), roberta);
            }
        }
        let name = hugging_face_name(ModelType::Roberta, "dense.weight");
        assert_eq!(name, "classifier.dense.weight");
    }
}
