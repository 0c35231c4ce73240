//! The optimizer on whole modules: roles, anchors, records, and where Burn takes an optimizer.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use adamw_l2sp::{
    AdamWL2SPConfig, AdamWL2SPOptimizer, Anchors, Groups, OptimizerError, clip_grad_norm,
};
use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Param};
use burn::nn::{BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, MultiGradientsParams, Optimizer};
use burn::prelude::*;
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use burn_store::{ModuleSnapshot, SafetensorsStore};

type B = Autodiff<Flex>;

#[derive(Module, Debug)]
struct Net<B: Backend> {
    encoder: Vec<Linear<B>>,
    norm: LayerNorm<B>,
    head: Linear<B>,
}

/// What `Net` was pretrained as: the same encoder, another head.
#[derive(Module, Debug)]
struct Pretrained<B: Backend> {
    encoder: Vec<Linear<B>>,
    norm: LayerNorm<B>,
    lm_head: Linear<B>,
}

fn linear<B: Backend>(inputs: usize, outputs: usize) -> Linear<B> {
    LinearConfig::new(inputs, outputs).init(&Default::default())
}

fn net() -> Net<B> {
    Net {
        encoder: vec![linear(3, 4), linear(4, 4)],
        norm: LayerNormConfig::new(4).init(&Default::default()),
        head: linear(4, 2),
    }
    .initialized()
}

impl Net<B> {
    /// Lazily initialised parameters have no value to compare before their first use.
    fn initialized(self) -> Self {
        Anchors::from_module(&self.valid());
        self
    }

    fn forward(&self, input: Tensor<B, 2>) -> Tensor<B, 2> {
        let hidden = self.encoder.iter().fold(input, |x, layer| layer.forward(x).tanh());
        self.head.forward(self.norm.forward(hidden))
    }

    fn grads(&self, seed: f32) -> GradientsParams {
        let device = Default::default();
        let input = Tensor::<B, 2>::from_floats(
            [[seed, 0.5, -1.0], [0.3, -seed, 2.0], [1.5, seed * 0.1, 0.2]],
            &device,
        );
        let loss = (self.forward(input) - 1.0).powf_scalar(2.0).mean();
        GradientsParams::from_grads(loss.backward(), self)
    }
}

fn config() -> AdamWL2SPConfig {
    AdamWL2SPConfig::new().with_source_decay(0.5).with_novel_decay(0.1)
}

fn groups() -> Groups<Flex> {
    Groups::new().source("encoder").source("norm").biases_and_norms_undecayed()
}

fn train(
    mut model: Net<B>,
    mut optimizer: AdamWL2SPOptimizer<B>,
    steps: std::ops::Range<usize>,
) -> (Net<B>, AdamWL2SPOptimizer<B>) {
    for step in steps {
        let mut grads = model.grads(step as f32 * 0.1);
        clip_grad_norm(&mut grads, &model, 1.0);
        model = optimizer.step(0.05, model, grads);
    }
    (model, optimizer)
}

/// All parameters' bits.
fn bits(model: &Net<B>) -> Vec<Vec<u32>> {
    let snapshots = model.collect(None, None, false);
    snapshots
        .iter()
        .map(|snapshot| snapshot.to_data().unwrap().iter::<f32>().map(f32::to_bits).collect())
        .collect()
}

fn message<T>(result: Result<T, OptimizerError>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn roles_follow_the_rules_and_the_last_rule_wins() {
    let groups = Groups::new()
        .source_matching(r"^encoder\.\d+\.")
        .novel("encoder.1")
        .undecayed("head.weight")
        .biases_and_norms_undecayed();
    let optimizer = config().init(&net(), groups).unwrap();
    let roles: Vec<(&str, bool, bool)> = optimizer
        .roles()
        .iter()
        .map(|(path, role)| (path.as_str(), role.source, role.decayed))
        .collect();
    assert_eq!(
        roles,
        [
            ("encoder.0.bias", true, false),
            ("encoder.0.weight", true, true),
            ("encoder.1.bias", false, false),
            ("encoder.1.weight", false, true),
            ("head.bias", false, false),
            ("head.weight", false, false),
            ("norm.beta", false, false),
            ("norm.gamma", false, false),
        ]
    );
}

#[test]
fn a_path_is_no_prefix_of_a_name() {
    let error = message(config().init(&net(), Groups::new().source("enc")));
    assert!(error.starts_with("no parameter of the model matches the path `enc`; its"), "{error}");
    assert!(error.contains("encoder.0.weight"), "{error}");
}

#[test]
fn every_idle_rule_is_listed() {
    let groups = Groups::new().source("encoder").source("decoder").undecayed_matching("scale$");
    let error = message(config().init(&net(), groups));
    assert!(error.contains("the path `decoder`, the regex `scale$`"), "{error}");
}

#[test]
fn a_broken_regex_is_an_error() {
    let error = message(config().init(&net(), Groups::new().source_matching("(")));
    assert!(error.starts_with("`(` is not a regular expression"), "{error}");
}

#[test]
fn source_in_takes_what_both_have_and_anchors_at_the_other() {
    let model = net();
    let pretrained = Pretrained {
        encoder: model.encoder.clone(),
        norm: LayerNormConfig::new(4).init(&Default::default()),
        lm_head: linear::<B>(4, 9),
    };
    let mut pretrained = pretrained;
    pretrained.encoder[0] = linear(3, 4);
    let optimizer = config().init(&model, Groups::source_in(&pretrained.valid())).unwrap();
    let source: Vec<&str> = optimizer
        .roles()
        .iter()
        .filter(|(_, role)| role.source)
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(source.len(), 6);
    assert!(!source.contains(&"head.weight"));

    let (model, optimizer) = train(model, optimizer, 0..3);
    let anchor = optimizer.anchors(&model).get::<2>("encoder.0.weight").unwrap();
    assert_eq!(anchor.into_data(), pretrained.encoder[0].weight.val().inner().into_data());
}

#[test]
fn anchors_that_differ_from_the_model_are_refused_where_asked() {
    let model = net();
    let mut other = model.clone();
    other.encoder[1] = linear(4, 4);
    let groups = || Groups::source_in(&other.valid());
    config().init(&model, groups()).unwrap();
    let error = message(config().init(&model, groups().anchors_must_equal_model()));
    // A bias may be drawn alike by chance, never a weight.
    assert!(error.starts_with("anchors that differ"), "{error}");
    assert!(error.contains("encoder.1.weight") && !error.contains("encoder.0"), "{error}");
    let same = Groups::source_in(&model.valid()).anchors_must_equal_model();
    config().init(&model, same).unwrap();
}

#[test]
fn anchors_of_another_shape_are_listed() {
    let model = net();
    let mut other = model.clone();
    other.encoder[0] = linear(5, 4);
    let error = message(config().init(&model, Groups::source_in(&other.valid())));
    assert_eq!(
        error,
        "anchors of another shape than their parameter: \
         encoder.0.weight: anchor [5, 4], parameter [3, 4]"
    );
}

#[test]
fn a_head_of_the_same_name_and_another_size_is_novel_where_said() {
    let model = net();
    let mut pretrained = model.clone();
    pretrained.head = linear(4, 9);
    let groups = || Groups::source_in(&pretrained.valid());
    let error = message(config().init(&model, groups()));
    assert!(error.contains("head.weight: anchor [4, 9], parameter [4, 2]"), "{error}");
    let optimizer = config().init(&model, groups().novel("head")).unwrap();
    assert!(!optimizer.roles()["head.weight"].source);
    assert!(optimizer.roles()["encoder.0.weight"].source);
}

#[test]
fn a_record_of_another_model_is_refused() {
    let mut larger = net();
    larger.encoder.push(linear(4, 4));
    let groups = || Groups::new().source("encoder");
    let trained = config().init(&larger, groups()).unwrap();
    let (_, trained) = train(larger, trained, 0..1);
    let optimizer = config().init(&net(), groups()).unwrap();
    let error = message(optimizer.try_load_record(trained.to_record()));
    assert_eq!(
        error,
        "the record holds parameters that the model has not: encoder.2.bias, encoder.2.weight"
    );
}

#[test]
fn running_statistics_are_no_distance() {
    let device = Default::default();
    let norm: BatchNorm<B> = BatchNormConfig::new(3).init(&device);
    // A copy of its own: clones share the statistics.
    let anchors = Anchors::from_module(&norm.valid());
    norm.forward(Tensor::<B, 2>::ones([4, 3], &device) * 5.0);
    norm.forward(Tensor::<B, 2>::ones([4, 3], &device) * 7.0);
    assert_ne!(
        norm.running_mean.value().into_data(),
        Tensor::<B, 1>::zeros([3], &device).into_data()
    );
    assert_eq!(anchors.squared_distance(&norm).into_scalar(), 0.0);
}

#[test]
fn explicit_anchors_must_match_both_ways() {
    let model = net();
    let anchors = Anchors::from_module(&model.valid());
    let fewer = anchors.clone().filter(|path| path != "encoder.0.weight");
    let error = message(config().init(&model, groups().anchored_at(fewer)));
    assert_eq!(error, "source parameters without an anchor: encoder.0.weight");

    let renamed = Pretrained {
        encoder: model.encoder.clone(),
        norm: model.norm.clone(),
        lm_head: model.head.clone(),
    };
    let foreign = Anchors::from_module(&renamed.valid());
    let error = message(config().init(&model, groups().anchored_at(foreign)));
    assert_eq!(error, "anchors that match no parameter of the model: lm_head.bias, lm_head.weight");
}

#[test]
fn anchors_come_from_a_safetensors_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pretrained.safetensors");
    let model = net();
    let pretrained = net();
    pretrained.save_into(&mut SafetensorsStore::from_file(&file)).unwrap();

    let anchors = Anchors::from_safetensors(&file, &model.valid()).unwrap();
    let expected = pretrained.encoder[0].weight.val().inner().into_data();
    assert_eq!(anchors.get::<2>("encoder.0.weight").unwrap().into_data(), expected);
    let optimizer = config().init(&model, groups().anchored_at(anchors)).unwrap();
    let (model, optimizer) = train(model, optimizer, 0..2);
    let anchor = optimizer.anchors(&model).get::<2>("encoder.0.weight").unwrap();
    assert_eq!(anchor.into_data(), expected);
}

#[test]
fn a_file_that_does_not_fit_is_an_error_with_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.safetensors");
    let model = net();

    let mut other = net();
    other.encoder[1] = linear(4, 6);
    other.save_into(&mut SafetensorsStore::from_file(&file)).unwrap();
    let error = message(Anchors::from_safetensors(&file, &model.valid()));
    assert!(error.contains("encoder.1.weight: anchor [4, 6], parameter [4, 4]"), "{error}");
    assert!(error.contains("encoder.1.bias"), "{error}");

    let file = folder.path().join("foreign.safetensors");
    let foreign =
        Pretrained { encoder: vec![], norm: model.norm.clone(), lm_head: linear::<B>(1, 1) };
    foreign.save_into(&mut SafetensorsStore::from_file(&file)).unwrap();
    let error = message(Anchors::from_safetensors(&file, &model.valid()));
    assert_eq!(error, "anchors that match no parameter of the model: lm_head.bias, lm_head.weight");

    let missing = folder.path().join("missing.safetensors");
    let error = message(Anchors::from_safetensors(&missing, &model.valid()));
    assert!(error.contains("missing.safetensors"), "{error}");
    std::fs::write(&missing, b"not a safetensors file").unwrap();
    let error = message(Anchors::from_safetensors(&missing, &model.valid()));
    assert!(error.contains("missing.safetensors"), "{error}");
}

#[test]
fn a_resumed_run_keeps_the_original_anchors_bit_for_bit() {
    let start = net();
    let fresh = |model: &Net<B>| config().init(model, groups()).unwrap();
    let (undisturbed, _) = train(start.clone(), fresh(&start), 0..8);

    let (halfway, optimizer) = train(start.clone(), fresh(&start), 0..4);
    let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
    let record = optimizer.to_record();
    let bytes = Recorder::<B>::record(&recorder, record, ()).unwrap();

    // The weights travel through a safetensors file into a new model, whose parameters have other
    // identifiers.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    halfway.save_into(&mut SafetensorsStore::from_file(&file)).unwrap();
    let mut resumed = net();
    resumed.load_from(&mut SafetensorsStore::from_file(&file)).unwrap();
    let record = Recorder::<B>::load(&recorder, bytes, &Default::default()).unwrap();
    let optimizer = fresh(&resumed).try_load_record(record).unwrap();

    let anchor = optimizer.anchors(&resumed).get::<2>("encoder.0.weight").unwrap();
    assert_eq!(anchor.into_data(), start.encoder[0].weight.val().inner().into_data());
    let (resumed, _) = train(resumed, optimizer, 4..8);
    assert_eq!(bits(&resumed), bits(&undisturbed));

    // Without the record the anchors would be the resumed weights: another result.
    let (forgetful, _) = train(halfway.clone(), fresh(&halfway), 4..8);
    assert_ne!(bits(&forgetful), bits(&undisturbed));
}

#[test]
fn a_parameter_without_gradient_is_left_alone_with_its_count() {
    let start = net();
    let mut optimizer = config().init(&start, groups()).unwrap();
    let mut model = start.clone();
    let id = model.encoder[0].weight.id;
    for step in 0..3 {
        let mut grads = model.grads(step as f32);
        if step < 2 {
            grads.remove::<Flex, 2>(id);
        }
        model = optimizer.step(0.1, model, grads);
        if step < 2 {
            assert_eq!(
                model.encoder[0].weight.val().into_data(),
                start.encoder[0].weight.val().into_data()
            );
        }
    }
    // Its first step: with bias correction Adam moves every element by about the learning rate.
    let moved = (model.encoder[0].weight.val() - start.encoder[0].weight.val()).abs();
    let largest: f32 = moved.max().into_scalar();
    assert!((largest - 0.1).abs() < 1e-3, "{largest}");
}

#[test]
fn a_frozen_parameter_stays_frozen() {
    let mut model = net();
    model.norm = model.norm.no_grad();
    let before = model.norm.gamma.val().into_data();
    let optimizer = config().init(&model, groups()).unwrap();
    let (model, _) = train(model, optimizer, 0..2);
    assert_eq!(model.norm.gamma.val().into_data(), before);
    assert!(!model.norm.gamma.is_require_grad());
    assert!(model.head.weight.is_require_grad());
}

#[test]
fn several_devices_gradients_are_summed() {
    let start = net();
    let mut single = config().init(&start, groups()).unwrap();
    let mut multi = config().init(&start, groups()).unwrap();
    // Two devices with half of the gradient each, as far as a CPU has two.
    let half = |model: &Net<B>| {
        let mut grads = model.grads(0.7);
        let weight = grads.remove::<Flex, 2>(model.head.weight.id).unwrap();
        let mut only = GradientsParams::new();
        only.register(model.head.weight.id, weight * 0.5);
        only
    };
    let whole = {
        let mut grads = GradientsParams::new();
        let weight = half(&start).remove::<Flex, 2>(start.head.weight.id).unwrap();
        grads.register(start.head.weight.id, weight * 2.0);
        grads
    };
    let device: Device<B> = Default::default();
    let id = burn::tensor::backend::DeviceOps::id(&device);
    let parts = MultiGradientsParams { grads: vec![(half(&start), id), (half(&start), id)] };
    let expected = single.step(0.1, start.clone(), whole);
    let actual = multi.step_multi(0.1, start, parts);
    assert_eq!(bits(&actual), bits(&expected));
}

#[test]
fn the_distance_counts_each_source_parameter_once() {
    let start = net();
    let source = |path: &str| !path.starts_with("head");
    let anchors = Anchors::from_module(&start.valid()).filter(source);
    let (model, optimizer) = train(start.clone(), config().init(&start, groups()).unwrap(), 0..5);

    let mut expected = 0.0;
    for (now, then) in
        model.collect(None, None, false).iter().zip(start.collect(None, None, false).iter())
    {
        if source(&now.full_path()) {
            let (now, then) = (now.to_data().unwrap(), then.to_data().unwrap());
            expected += now
                .iter::<f64>()
                .zip(then.iter::<f64>())
                .map(|(now, then)| (now - then).powi(2))
                .sum::<f64>();
        }
    }
    for anchors in [anchors, optimizer.anchors(&model)] {
        let actual = f64::from(anchors.squared_distance(&model).into_scalar());
        assert!((actual - expected).abs() < 1e-5 * expected, "{actual} {expected}");
    }
}

#[test]
fn tied_parameters_step_once() {
    #[derive(Module, Debug)]
    struct Tied<B: Backend> {
        first: Param<Tensor<B, 2>>,
        second: Param<Tensor<B, 2>>,
    }
    let weight = linear::<B>(2, 2).weight;
    let _ = weight.val();
    let model = Tied { first: weight.clone(), second: weight.clone() };
    let mut optimizer = config().init(&model, Groups::new()).unwrap();
    assert_eq!(optimizer.roles().keys().collect::<Vec<_>>(), ["first"]);
    let loss = model.first.val().matmul(model.second.val()).sum();
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let before = weight.val().into_data();
    let model = optimizer.step(0.1, model, grads);
    assert_ne!(model.first.val().into_data(), before);
}

#[test]
#[should_panic(expected = "without the parameter `encoder.2.weight`")]
fn a_module_of_another_structure_is_a_programming_error() {
    let model = net();
    let mut optimizer = config().init(&model, groups()).unwrap();
    let mut larger = model.clone();
    larger.encoder.push(linear(4, 4));
    let grads = larger.grads(1.0);
    optimizer.step(0.1, larger, grads);
}
