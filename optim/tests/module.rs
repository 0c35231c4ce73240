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
use burn::module::{AutodiffModule, ModuleMapper, Param};
use burn::nn::{BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, MultiGradientsParams, Optimizer};
use burn::prelude::*;
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use burn::tensor::DType;
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
    /// Lazily initialized parameters have no value to compare before their first use.
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
    assert!(error.starts_with("the anchors of "), "{error}");
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
        "the shapes of anchors and parameters differ: \
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
        "the record holds parameters that the model does not have: encoder.2.bias, encoder.2.weight"
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
    assert_eq!(
        error,
        "the source parameters encoder.0.weight have no anchor; add their anchors, or make them novel"
    );

    let renamed = Pretrained {
        encoder: model.encoder.clone(),
        norm: model.norm.clone(),
        lm_head: model.head.clone(),
    };
    let foreign = Anchors::from_module(&renamed.valid());
    let error = message(config().init(&model, groups().anchored_at(foreign)));
    assert_eq!(
        error,
        "the model has no parameters for the anchors lm_head.bias, lm_head.weight; leave them out, with `Anchors::filter` or a filter of the store"
    );
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

/// Casts all parameters to the precision.
struct Cast(DType);

impl<B: Backend> ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

#[test]
fn anchors_in_16_bits_are_used_in_the_precision_of_the_model() {
    let rounded = net().valid().map(&mut Cast(DType::F16));
    let widened = rounded.clone().map(&mut Cast(DType::F32));
    let model = net();
    let [from_16_bits, expected] = [&rounded, &widened].map(|module| {
        let anchors = Anchors::from_module(module);
        let distance = anchors.squared_distance(&model).into_scalar();
        let optimizer = config().init(&model, groups().anchored_at(anchors)).unwrap();
        (bits(&train(model.clone(), optimizer, 0..2).0), distance)
    });
    assert_eq!(from_16_bits, expected);

    let equal: Net<B> = AutodiffModule::from_inner(widened);
    let anchored = groups().anchored_at(Anchors::from_module(&rounded));
    config().init(&equal, anchored.anchors_must_equal_model()).expect("equal values");
}

#[test]
fn explicit_anchors_fit_exactly_however_the_source_was_named() {
    let model = net();
    let anchors = Anchors::from_module(&model.valid()).filter(|path| path.starts_with("norm"));
    let groups = Groups::source_names(["norm.gamma", "head.weight"]).anchored_at(anchors.clone());
    let error = message(config().init(&model, groups));
    assert!(error.starts_with("the source parameters head.weight have no anchor"), "{error}");
    let groups = Groups::source_in(&model.valid()).anchored_at(anchors);
    assert!(message(config().init(&model, groups)).contains("have no anchor"));
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
    assert_eq!(
        error,
        "the model has no parameters for the anchors lm_head.bias, lm_head.weight; leave them out, with `Anchors::filter` or a filter of the store"
    );

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
    assert_eq!(model.second.val().into_data(), model.first.val().into_data());
}

/// A decoder whose weight is that of the embedding.
#[derive(Module, Debug)]
struct Tied<B: Backend> {
    embedding: Linear<B>,
    decoder: Linear<B>,
}

fn tied() -> Tied<B> {
    let device = Default::default();
    let square = || LinearConfig::new(3, 3).with_bias(false).init::<B>(&device);
    let embedding = square();
    let weight = embedding.weight.val();
    let decoder = Linear { weight: Param::initialized(embedding.weight.id, weight), bias: None };
    Tied { embedding, decoder }
}

#[test]
fn tied_parameters_stay_tied_and_have_one_state() {
    let model = tied();
    let groups = || Groups::new().source("embedding").source("decoder");
    let mut optimizer = config().init(&model, groups()).unwrap();
    // The same computation with one parameter that is used twice.
    let mut single = model.embedding.clone();
    let mut expected = config().init(&single, Groups::new().source("weight")).unwrap();

    let mut model = model;
    for step in 0..4 {
        let input = Tensor::<B, 2>::full([2, 3], 0.5 + step as f32, &Default::default());
        let loss = model.decoder.forward(model.embedding.forward(input.clone()).tanh()).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, grads);
        let loss = single.forward(single.forward(input).tanh()).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &single);
        single = expected.step(0.05, single, grads);

        for weight in [&model.embedding.weight, &model.decoder.weight] {
            assert_eq!(weight.val().into_data(), single.weight.val().into_data(), "step {step}");
            assert!(weight.is_require_grad());
        }
    }
    let states: Vec<String> = optimizer.to_record().into_iter().map(|(path, _)| path).collect();
    assert_eq!(states, ["embedding.weight"]);
}

#[test]
fn rules_that_treat_the_paths_of_a_tied_parameter_differently_are_an_error() {
    for groups in [
        Groups::new().source("embedding"),
        Groups::new().undecayed("decoder"),
        Groups::new().learning_rate_scale("decoder", 0.1),
        Groups::new().frozen("embedding"),
    ] {
        let error = message(config().init(&tied(), groups));
        assert_eq!(
            error,
            "the rules treat tied parameters differently at their paths: \
             embedding.weight = decoder.weight; name all paths of each"
        );
    }
}

#[test]
fn an_anchor_may_have_any_path_of_a_tied_parameter() {
    let model = tied();
    let other = tied();
    let both = Anchors::from_module(&other.valid());
    assert_eq!(both.names().collect::<Vec<_>>(), ["decoder.weight", "embedding.weight"]);
    let groups = || Groups::new().source("embedding").source("decoder");
    for anchors in [both.clone(), both.clone().filter(|path| path == "decoder.weight")] {
        let optimizer = config().init(&model, groups().anchored_at(anchors)).unwrap();
        let anchor = optimizer.anchors(&model).get::<2>("embedding.weight").unwrap();
        assert_eq!(anchor.into_data(), other.decoder.weight.val().inner().into_data());
    }
    config().init(&model, Groups::source_in(&other.valid())).unwrap();
}

#[test]
fn a_learning_rate_scale_multiplies_the_learning_rate_and_the_decay() {
    let start = net();
    let scales = [("encoder.0", 0.25), ("head", 8.0)];
    let scaled = scales.iter().fold(groups(), |groups, &(path, scale)| {
        groups
            .learning_rate_scale_matching(r"^encoder\.\d+\.", 0.5)
            .learning_rate_scale(path, scale)
    });
    let step = |groups: Groups<Flex>, rate: f64| {
        let mut optimizer = config().init(&start, groups).unwrap();
        let mut model = start.clone();
        // The same gradients in each run: those at the start.
        for _ in 0..3 {
            model = optimizer.step(rate, model, start.grads(0.3));
        }
        model
    };
    let actual = step(scaled, 0.01);
    let [whole, quarter, half, eightfold] =
        [1.0, 0.25, 0.5, 8.0].map(|scale| step(groups(), 0.01 * scale));
    let same = |actual: &Linear<B>, expected: &Linear<B>| {
        assert_eq!(actual.weight.val().into_data(), expected.weight.val().into_data());
    };
    // The last rule wins: the regular expression was given again after `encoder.0`.
    same(&actual.encoder[0], &half.encoder[0]);
    same(&actual.encoder[1], &half.encoder[1]);
    same(&actual.head, &eightfold.head);
    assert_eq!(actual.norm.gamma.val().into_data(), whole.norm.gamma.val().into_data());

    let layer_wise = groups().learning_rate_scale("encoder.0", 0.25);
    same(&step(layer_wise, 0.01).encoder[0], &quarter.encoder[0]);
}

#[test]
fn a_learning_rate_scale_out_of_range_is_an_error() {
    for factor in [-0.1, f64::NAN, f64::INFINITY] {
        let error =
            message(config().init(&net(), Groups::new().learning_rate_scale("head", factor)));
        assert!(error.starts_with("learning_rate_scale is "), "{error}");
    }
    config().init(&net(), Groups::new().learning_rate_scale("head", 0.0)).unwrap();
}

#[test]
fn unused_scales_and_freezes_are_errors() {
    let groups = Groups::new().learning_rate_scale_matching("layers", 0.5).frozen("embeddings");
    let error = message(config().init(&net(), groups));
    assert!(error.contains("the regex `layers`, the path `embeddings`"), "{error}");
}

#[test]
fn frozen_parameters_do_not_change_and_have_no_state() {
    let start = net();
    let anchors = Anchors::from_module(&start.valid());
    let groups = groups()
        .frozen("encoder.0")
        .frozen_matching("^norm")
        .anchored_at(anchors.filter(|path| !path.starts_with("head")));
    let optimizer = config().init(&start, groups).unwrap();
    assert!(optimizer.roles()["encoder.0.weight"].frozen);
    let (model, optimizer) = train(start.clone(), optimizer, 0..3);
    let stepped: Vec<String> = optimizer.to_record().into_iter().map(|(path, _)| path).collect();
    assert_eq!(stepped, ["encoder.1.bias", "encoder.1.weight", "head.bias", "head.weight"]);
    let weights = |model: &Net<B>| {
        [&model.encoder[0], &model.encoder[1], &model.head].map(|l| l.weight.val().into_data())
    };
    let (before, after) = (weights(&start), weights(&model));
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    assert_ne!(before[2], after[2]);
    assert_eq!(model.norm.gamma.val().into_data(), start.norm.gamma.val().into_data());
}

#[test]
fn freezing_a_model_switches_the_frozen_gradients_off() {
    let start = net();
    let optimizer = config().init(&start, groups().frozen("encoder")).unwrap();
    let model = optimizer.freeze(start.clone());
    let grads = model.grads(0.3);
    assert!(grads.get::<Flex, 2>(model.encoder[0].weight.id).is_none());
    assert!(grads.get::<Flex, 2>(model.head.weight.id).is_some());
    assert_eq!(grads.len(), 4);
    assert_eq!(bits(&model), bits(&start));

    // With one frozen path the others of a tied parameter are frozen, too.
    let tied = tied();
    let groups = Groups::new().frozen("embedding").frozen("decoder");
    let tied = config().init(&tied, groups).unwrap().freeze(tied);
    assert!(!tied.embedding.weight.is_require_grad() && !tied.decoder.weight.is_require_grad());
}

#[test]
fn running_statistics_are_no_parameters() {
    #[derive(Module, Debug)]
    struct Normed<B: Backend> {
        norm: BatchNorm<B>,
        head: Linear<B>,
    }
    let norm = BatchNormConfig::new(3).init::<B>(&Default::default());
    let model = Normed { norm, head: linear(3, 2) };
    let anchors = Anchors::from_module(&model.valid());
    assert!(anchors.names().all(|name| !name.contains("running")));
    for groups in [
        Groups::new().source("norm"),
        Groups::source_in(&model.valid()),
        Groups::new().source("").anchored_at(anchors),
    ] {
        let optimizer = config().init(&model, groups).unwrap();
        let paths: Vec<&str> = optimizer.roles().keys().map(String::as_str).collect();
        assert_eq!(paths, ["head.bias", "head.weight", "norm.beta", "norm.gamma"]);
    }
    let error = message(config().init(&model, Groups::new().source("norm.running_mean")));
    assert!(error.starts_with("no parameter of the model matches"), "{error}");
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
