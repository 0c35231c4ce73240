//! A BERT as an ALBERT with a group for each layer and an identity projection: the same model in another file layout. With
//! the projection frozen, training is the same bit for bit.
//!
//! Tested on one backend: others may round when they multiply by the identity.

use std::path::Path;

use adamw_l2sp::{AdamWL2SPConfig, Groups, clip_grad_norm};
use albert::{EncoderInput, ModelConfig, ModelType, SequenceClassifier, cross_entropy};
use burn::backend::Autodiff;
use burn::module::Module;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use tests::{Arrays, OneBackend, ok, own_cases};

type Train = Autodiff<OneBackend>;

/// Writes the BERT of a folder in ALBERT's layout.
fn write_as_albert(bert: &Path, folder: &Path) {
    let device = Default::default();
    let bert_config = ok(ModelConfig::from_folder(bert), bert);
    let loaded = SequenceClassifier::<Train>::from_pretrained(bert, &bert_config, 0, &device);
    let (bert, _) = ok(loaded, bert);
    let config = ModelConfig { model_type: ModelType::Albert, ..bert_config };
    let mut albert = SequenceClassifier::<Train>::init(&config, 0, &device);
    albert.classifier = bert.classifier;
    albert.encoder.embeddings = bert.encoder.embeddings;
    albert.encoder.layer_groups = bert.encoder.layer_groups;
    albert.encoder.pooler = bert.encoder.pooler;
    let mut projection = albert.encoder.embedding_projection.take().expect("ALBERT's");
    projection.weight =
        projection.weight.map(|weight| Tensor::eye(weight.dims()[0], &device).require_grad());
    albert.encoder.embedding_projection = Some(projection);
    ok(albert.save_pretrained(&config, folder), folder);
}

/// Loss and gradient norm of every step, then the final logits of the first batch.
fn train(folder: &Path, batches: &Arrays, steps: usize) -> Vec<Vec<f32>> {
    let device = Default::default();
    let config = ok(ModelConfig::from_folder(folder), folder);
    let loaded = SequenceClassifier::<Train>::from_pretrained(folder, &config, 0, &device);
    let (mut model, _) = ok(loaded, folder);
    model.encoder.embedding_projection =
        model.encoder.embedding_projection.map(|projection| projection.no_grad());
    let optimizer = AdamWL2SPConfig::new().with_source_decay(0.5);
    let groups = Groups::new().source("encoder").biases_and_norms_undecayed();
    let mut optimizer = ok(optimizer.init(&model, groups), folder);

    let batch = |name: &str, step: usize| batches.get(&format!("{name}/{step}"));
    let input = |step: usize| EncoderInput {
        input_ids: batch("input_ids", step).int_tensor(&device),
        attention_mask: batch("attention_mask", step).int_tensor(&device),
        token_type_ids: batch("token_type_ids", step).int_tensor(&device),
    };
    let values = |tensor: Tensor<Train, 1>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
    let mut records = vec![values(model.forward(&input(1)).flatten(0, 1))];
    for step in 1..=steps {
        let labels = batch("labels", step).int_tensor(&device);
        let loss = cross_entropy(model.forward(&input(step)), labels);
        let mut grads = GradientsParams::from_grads(loss.backward(), &model);
        let norm = clip_grad_norm(&mut grads, &model, 1.0);
        model = optimizer.step(1e-3, model, grads);
        records.extend([values(loss), norm.into_data().iter::<f32>().collect()]);
    }
    records.push(values(model.forward(&input(1)).flatten(0, 1)));
    records
}

#[test]
fn a_bert_in_alberts_layout_trains_bit_for_bit_the_same() {
    let bert = own_cases().join("trajectory/bert");
    let albert = tempfile::tempdir().expect("a folder");
    write_as_albert(&bert, albert.path());
    let batches = Arrays::read(&bert.join("batches.safetensors"));
    let [of_bert, of_albert] =
        [bert.as_path(), albert.path()].map(|folder| train(folder, &batches, 12));
    assert_eq!(of_bert, of_albert);
    assert_ne!(of_bert.first(), of_bert.last(), "it learns: logits of the same batch");
}
