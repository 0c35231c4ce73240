//! The optimizer on whole modules of Burn 0.22: roles, anchors, records, clipping.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use adamw_l2sp::burn_0_22::{Anchors, Groups, clip_grad_norm, grad_norm, scale_grads};
use adamw_l2sp::{AdamWL2SPConfig, OptimizerError, ScheduleConfig, ScheduleKind};
use burn::config::Config;
use burn::lr_scheduler::LrScheduler;
use burn::module::{Param, ParamGroup, ParamId};
use burn::nn::{BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::FloatDType;

#[derive(Module, Debug)]
struct Net {
    encoder: Vec<Linear>,
    norm: LayerNorm,
    head: Linear,
}

/// What `Net` was pretrained as: the same encoder, another head.
#[derive(Module, Debug)]
struct Pretrained {
    encoder: Vec<Linear>,
    norm: LayerNorm,
    lm_head: Linear,
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn linear(inputs: usize, outputs: usize) -> Linear {
    LinearConfig::new(inputs, outputs).init(&device())
}

fn net() -> Net {
    let net = Net {
        encoder: vec![linear(3, 4), linear(4, 4)],
        norm: LayerNormConfig::new(4).init(&device()),
        head: linear(4, 2),
    };
    // Lazily initialized parameters have no value to compare before their first use.
    Anchors::from_module(&net);
    net
}

impl Net {
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let hidden = self.encoder.iter().fold(input, |x, layer| layer.forward(x).tanh());
        self.head.forward(self.norm.forward(hidden))
    }

    fn grads(&self, seed: f32) -> GradientsParams {
        let input = Tensor::<2>::from_floats(
            [[seed, 0.5, -1.0], [0.3, -seed, 2.0], [1.5, seed * 0.1, 0.2]],
            &device(),
        );
        let loss = (self.forward(input) - 1.0).powf_scalar(2.0).mean();
        GradientsParams::from_grads(loss.backward(), self)
    }

    /// Gradients of zero: a step is the decay alone.
    fn no_grads(&self) -> GradientsParams {
        let mut grads = self.grads(0.0);
        scale_grads(&mut grads, self, 0.0);
        grads
    }
}

fn config() -> AdamWL2SPConfig {
    AdamWL2SPConfig::new().with_source_decay(0.5).with_novel_decay(0.1)
}

fn groups() -> Groups {
    Groups::new().source("encoder").source("norm").biases_and_norms_undecayed()
}

fn train(
    mut model: Net,
    mut optimizer: ModuleOptimizer,
    steps: std::ops::Range<usize>,
) -> (Net, ModuleOptimizer) {
    for step in steps {
        let mut grads = model.grads(step as f32 * 0.1);
        clip_grad_norm(&mut grads, &model, 1.0);
        model = optimizer.step(0.05, model, grads);
    }
    (model, optimizer)
}

fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    param.val().into_data().try_into_vec().unwrap()
}

/// All parameters' bits.
fn bits(model: &Net) -> Vec<u32> {
    let layers = [&model.encoder[0], &model.encoder[1], &model.head];
    let mut all = [values(&model.norm.gamma), values(model.norm.beta.as_ref().unwrap())].concat();
    for layer in layers {
        all.extend(values(&layer.weight));
        all.extend(values(layer.bias.as_ref().unwrap()));
    }
    all.into_iter().map(f32::to_bits).collect()
}

fn message<T>(result: Result<T, OptimizerError>) -> String {
    result.err().expect("an error").to_string()
}

/// θ after a step of rate η whose gradient is zero: (1 − ηλ) θ + ηλ θ⁰.
fn pulled(theta: &[f32], anchor: &[f32], rate: f32) -> Vec<f32> {
    theta.iter().zip(anchor).map(|(t, a)| (1.0 - rate) * t + rate * a).collect()
}

fn assert_close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
    }
}

#[test]
fn roles_follow_the_rules() {
    let groups = Groups::new()
        .source_matching(r"^encoder\.\d+\.")
        .novel("encoder.1")
        .undecayed("head.weight")
        .biases_and_norms_undecayed();
    let roles = groups.roles_in(&net()).unwrap();
    let roles: Vec<(&str, bool, bool)> =
        roles.iter().map(|(path, role)| (path.as_str(), role.source, role.decayed)).collect();
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
fn every_role_is_stepped_by_its_own_rule() {
    let groups = groups().learning_rate_scale("encoder.1", 0.5).undecayed("head.bias");
    let start = net();
    let mut optimizer = config().module_optimizer(&start, groups).unwrap();
    let moved = optimizer.step(0.1, start.clone(), start.grads(0.3));
    let adam = AdamWL2SPConfig::new().with_novel_decay(0.0);
    let mut adam = adam.module_optimizer(&start, Groups::new()).unwrap();
    let expected = adam.step(0.1, start.clone(), start.grads(0.3));
    // In the first step a source parameter is its own anchor: no pull.
    assert_close(&values(&moved.encoder[0].weight), &values(&expected.encoder[0].weight));
    // A novel one decays by 0.1 · 0.1 before Adam's step.
    let decayed: Vec<f32> = values(&expected.head.weight)
        .iter()
        .zip(values(&start.head.weight))
        .map(|(stepped, theta)| stepped - 0.01 * theta)
        .collect();
    assert_close(&values(&moved.head.weight), &decayed);
    // Half the learning rate, half of Adam's step.
    let halfway: Vec<f32> = values(&expected.encoder[1].weight)
        .iter()
        .zip(values(&start.encoder[1].weight))
        .map(|(stepped, theta)| (stepped + theta) / 2.0)
        .collect();
    assert_close(&values(&moved.encoder[1].weight), &halfway);
    let bias = |net: &Net| values(net.head.bias.as_ref().unwrap());
    assert_close(&bias(&moved), &bias(&expected));
}

#[test]
fn a_rule_that_matches_nothing_is_an_error() {
    let error = message(config().module_optimizer(&net(), Groups::new().source("enc")));
    assert!(error.starts_with("no parameter of the model matches the path `enc`; its"), "{error}");
    assert!(error.contains("encoder.0.weight"), "{error}");
    let error = message(config().with_beta_1(1.0).module_optimizer(&net(), groups()));
    assert_eq!(error, "beta_1 is 1, but must be in [0, 1)");
}

#[test]
fn source_in_takes_what_both_have_and_anchors_at_the_other() {
    let model = net();
    let pretrained = Pretrained {
        encoder: vec![linear(3, 4), model.encoder[1].clone()],
        norm: LayerNormConfig::new(4).init(&device()),
        lm_head: linear(4, 9),
    };
    let groups = Groups::source_in(&pretrained);
    let roles = groups.roles_in(&model).unwrap();
    assert_eq!(roles.values().filter(|role| role.source).count(), 6);
    assert!(!roles["head.weight"].source);

    let mut optimizer = config().module_optimizer(&model, groups).unwrap();
    let stepped = optimizer.step(0.1, model.clone(), model.no_grads());
    let (theta, anchor) = (&model.encoder[0].weight, &pretrained.encoder[0].weight);
    let expected = pulled(&values(theta), &values(anchor), 0.05);
    assert_close(&values(&stepped.encoder[0].weight), &expected);
    assert_close(&values(&stepped.encoder[1].weight), &values(&model.encoder[1].weight));
}

#[test]
fn anchors_that_do_not_fit_are_errors() {
    let model = net();
    let mut other = model.clone();
    other.encoder[0] = linear(5, 4);
    let error = message(config().module_optimizer(&model, Groups::source_in(&other)));
    assert_eq!(
        error,
        "the shapes of anchors and parameters differ: \
         encoder.0.weight: anchor [5, 4], parameter [3, 4]"
    );

    let anchors = Anchors::from_module(&model);
    let fewer = anchors.filter(|path| path != "encoder.0.weight" && !path.starts_with("head"));
    let error = message(config().module_optimizer(&model, groups().anchored_at(fewer)));
    assert_eq!(
        error,
        "the source parameters encoder.0.weight have no anchor; add their anchors, or make them novel"
    );

    let mut moved = model.clone();
    moved.encoder[1] = linear(4, 4);
    let strict = |other: &Net| Groups::source_in(other).anchors_must_equal_model();
    let error = message(config().module_optimizer(&model, strict(&moved)));
    assert!(error.starts_with("the anchors of "), "{error}");
    assert!(error.contains("encoder.1.weight") && !error.contains("encoder.0"), "{error}");
    config().module_optimizer(&model, strict(&model)).unwrap();
}

#[test]
fn a_head_of_the_same_name_and_another_size_is_novel_where_said() {
    let model = net();
    let mut pretrained = model.clone();
    pretrained.head = linear(4, 9);
    let roles = Groups::source_in(&pretrained).novel("head").roles_in(&model).unwrap();
    assert!(!roles["head.weight"].source && roles["encoder.0.weight"].source);
}

#[test]
fn a_resumed_run_keeps_the_original_anchors_bit_for_bit() {
    let start = net();
    let fresh = |model: &Net| config().module_optimizer(model, groups()).unwrap();
    let (undisturbed, _) = train(start.clone(), fresh(&start), 0..8);

    let (halfway, optimizer) = train(start.clone(), fresh(&start), 0..4);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    halfway.clone().save_file(file("model.bpk")).unwrap();
    optimizer.save(file("optimizer.bpk")).unwrap();

    // As the Learner does: the optimizer is made for a new model, then both are loaded.
    let resumed = net();
    let optimizer = fresh(&resumed).load(file("optimizer.bpk")).unwrap();
    let resumed = resumed.try_load_file(file("model.bpk")).unwrap();
    let (resumed, _) = train(resumed, optimizer, 4..8);
    assert_eq!(bits(&resumed), bits(&undisturbed));

    // Without the record the anchors would be the resumed weights: another result.
    let (forgetful, _) = train(halfway.clone(), fresh(&halfway), 4..8);
    assert_ne!(bits(&forgetful), bits(&undisturbed));
}

#[test]
fn explicit_anchors_survive_a_record_bit_for_bit() {
    let (start, pretrained) = (net(), net());
    let anchors = Anchors::from_module(&pretrained).filter(|path| !path.starts_with("head"));
    let anchored = || groups().anchored_at(anchors.clone());
    let optimizer = config().module_optimizer(&start, anchored()).unwrap();
    let (undisturbed, _) = train(start.clone(), optimizer.clone(), 0..6);
    let (halfway, optimizer) = train(start, optimizer, 0..3);
    let bytes = optimizer.into_bytes().unwrap();

    // The record alone has the anchors: the groups of the resumed optimizer name none.
    let resumed = config().module_optimizer(&halfway, groups()).unwrap();
    let resumed = resumed.from_bytes(bytes).unwrap();
    let (resumed, _) = train(halfway, resumed, 3..6);
    assert_eq!(bits(&resumed), bits(&undisturbed));
}

#[test]
fn a_record_keeps_the_bits_of_16_bit_anchors() {
    let weight = Tensor::<2>::from_floats([[0.1, -1.3], [2.7, 0.01]], &device());
    let weight = weight.cast(FloatDType::F16);
    let model =
        Linear { weight: Param::initialized(ParamId::new(), weight.require_grad()), bias: None };
    let start = model.weight.val().into_data();
    let grads = |model: &Linear| {
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, model.weight.val().inner().ones_like());
        grads
    };
    let made = || config().module_optimizer(&model, Groups::new().source("weight")).unwrap();
    let mut optimizer = made();
    let stepped = optimizer.step(0.1, model.clone(), grads(&model));
    let mut resumed = made().from_bytes(optimizer.into_bytes().unwrap()).unwrap();
    let expected = optimizer.step(0.1, stepped.clone(), grads(&stepped));
    let actual = resumed.step(0.1, stepped.clone(), grads(&stepped));
    let (expected, actual) = (expected.weight.val().into_data(), actual.weight.val().into_data());
    assert_eq!(actual.dtype(), start.dtype());
    assert_eq!(actual, expected);
    assert_ne!(actual, start);
}

#[test]
fn a_parameter_without_gradient_is_left_alone_with_its_count() {
    let start = net();
    let mut optimizer = config().module_optimizer(&start, groups()).unwrap();
    let mut model = start.clone();
    let id = model.encoder[0].weight.id;
    for step in 0..3 {
        let mut grads = model.grads(step as f32);
        if step < 2 {
            grads.remove::<2>(id);
        }
        model = optimizer.step(0.1, model, grads);
        if step < 2 {
            assert_eq!(values(&model.encoder[0].weight), values(&start.encoder[0].weight));
        }
    }
    // Its first step: with bias correction Adam moves every element by about the learning rate.
    let moved = (model.encoder[0].weight.val() - start.encoder[0].weight.val()).abs();
    let largest: f32 = moved.max().into_scalar();
    assert!((largest - 0.1).abs() < 1e-3, "{largest}");
}

#[test]
fn frozen_parameters_do_not_change_and_have_no_state() {
    let start = net();
    let anchors = Anchors::from_module(&start).filter(|path| !path.starts_with("head"));
    let groups = groups().frozen("encoder.0").frozen_matching("^norm").anchored_at(anchors);
    let optimizer = config().module_optimizer(&start, groups).unwrap();
    let (model, optimizer) = train(start.clone(), optimizer, 0..3);
    // m, v and θ⁰ of encoder.1, m and v of the head, each of a weight and a bias.
    assert_eq!(optimizer.to_record().len(), 2 * 3 + 2 * 2);
    assert_eq!(values(&model.encoder[0].weight), values(&start.encoder[0].weight));
    assert_eq!(values(&model.norm.gamma), values(&start.norm.gamma));
    assert_ne!(values(&model.encoder[1].weight), values(&start.encoder[1].weight));
    assert_ne!(values(&model.head.weight), values(&start.head.weight));
    assert!(model.encoder[0].weight.is_require_grad());
}

#[test]
fn gradients_switched_off_in_the_model_are_not_counted() {
    let model = net();
    let whole = grad_norm(&model.grads(0.3), &model).into_scalar::<f32>();
    let model = model.set_require_grad_group(ParamGroup::from_predicate("encoder"), false);
    let grads = model.grads(0.3);
    assert_eq!(grads.len(), 4);
    assert!(grad_norm(&grads, &model).into_scalar::<f32>() < whole);
}

/// A decoder whose weight is that of the embedding.
fn tied() -> Pretrained {
    let embedding = linear(4, 4);
    let weight = embedding.weight.val();
    let decoder = Linear { weight: Param::initialized(embedding.weight.id, weight), bias: None };
    Pretrained {
        encoder: vec![embedding],
        norm: LayerNormConfig::new(4).init(&device()),
        lm_head: decoder,
    }
}

#[test]
fn the_gradient_of_a_tied_parameter_counts_once() {
    let model = tied();
    let mut grads = GradientsParams::new();
    let gradient = Tensor::<2>::full([4, 4], 0.5, &Device::flex());
    grads.register(model.lm_head.weight.id, gradient);
    assert_eq!(grad_norm(&grads, &model).into_scalar::<f32>(), 2.0);
    scale_grads(&mut grads, &model, 0.5);
    assert_eq!(grad_norm(&grads, &model).into_scalar::<f32>(), 1.0);
}

#[test]
fn tied_parameters_are_refused_unless_frozen() {
    let error = message(config().module_optimizer(&tied(), Groups::new()));
    assert_eq!(
        error,
        "the parameters encoder.0.weight = lm_head.weight are tied, and Burn's ModuleOptimizer would untie them; \
         hold each in one place and use it from there"
    );
    let groups = Groups::new().frozen("encoder").frozen("lm_head");
    config().module_optimizer(&tied(), groups).unwrap();
    let error = message(config().module_optimizer(&tied(), Groups::new().frozen("encoder")));
    assert!(error.starts_with("the rules treat tied parameters differently"), "{error}");
}

/// Why they are refused: if this fails, they need not be any more.
#[test]
fn burns_module_optimizer_unties_tied_parameters() {
    let model = tied();
    let mut optimizer = ModuleOptimizer::from(config().build().unwrap());
    let input = Tensor::<2>::ones([1, 4], &device());
    let loss = model.lm_head.forward(model.encoder[0].forward(input)).sum();
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let model = optimizer.step(0.1, model, grads);
    assert_ne!(values(&model.encoder[0].weight), values(&model.lm_head.weight));
}

#[test]
fn running_statistics_are_no_parameters() {
    #[derive(Module, Debug)]
    struct Normed {
        norm: BatchNorm,
        head: Linear,
    }
    let model = Normed { norm: BatchNormConfig::new(3).init(&device()), head: linear(3, 2) };
    let anchors = Anchors::from_module(&model);
    assert!(anchors.names().all(|name| !name.contains("running")));
    for groups in [Groups::source_in(&model), Groups::new().source("").anchored_at(anchors)] {
        let roles = groups.roles_in(&model).unwrap();
        let paths: Vec<&str> = roles.keys().map(String::as_str).collect();
        assert_eq!(paths, ["head.bias", "head.weight", "norm.beta", "norm.gamma"]);
    }
}

#[test]
#[should_panic(expected = "made for a module without this parameter, of shape [4, 4]")]
fn a_module_of_another_structure_is_a_programming_error() {
    let model = net();
    let mut optimizer = config().module_optimizer(&model, groups()).unwrap();
    let mut larger = model.clone();
    larger.encoder.push(Linear { bias: None, ..linear(4, 4) });
    let grads = larger.grads(1.0);
    optimizer.step(0.1, larger, grads);
}

#[test]
fn the_distance_counts_each_source_parameter_once() {
    let start = net();
    let source = |path: &str| !path.starts_with("head");
    let anchors = Anchors::from_module(&start).filter(source);
    assert_eq!(anchors.squared_distance(&start).into_scalar::<f32>(), 0.0);
    let optimizer = config().module_optimizer(&start, groups()).unwrap();
    let (model, _) = train(start.clone(), optimizer, 0..5);
    let mut expected = 0.0;
    let mut add = |now: Vec<f32>, then: Vec<f32>| {
        expected += now.iter().zip(then).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    };
    for (now, then) in model.encoder.iter().zip(&start.encoder) {
        add(values(&now.weight), values(&then.weight));
        add(values(now.bias.as_ref().unwrap()), values(then.bias.as_ref().unwrap()));
    }
    add(values(&model.norm.gamma), values(&start.norm.gamma));
    add(values(model.norm.beta.as_ref().unwrap()), values(start.norm.beta.as_ref().unwrap()));
    let actual = f64::from(anchors.squared_distance(&model).into_scalar::<f32>());
    assert!((actual - expected).abs() < 1e-5 * expected, "{actual} {expected}");
}

/// A linear layer with the gradients 3 (weight, two elements) and 4 (bias, two elements).
fn layer_with_grads() -> (Linear, GradientsParams) {
    let layer = linear(1, 2);
    let mut grads = GradientsParams::new();
    let device = Device::flex();
    grads.register(layer.weight.id, Tensor::<2>::full([1, 2], 3.0, &device));
    let bias = layer.bias.as_ref().unwrap();
    grads.register(bias.id, Tensor::<1>::full([2], 4.0, &device));
    (layer, grads)
}

#[test]
fn clipping_is_by_the_norm_of_all_gradients() {
    let (layer, mut grads) = layer_with_grads();
    let norm = clip_grad_norm(&mut grads, &layer, 1.0).into_scalar::<f32>();
    assert!((norm - 50f32.sqrt()).abs() < 1e-5, "{norm}");
    let weight = grads.get::<2>(layer.weight.id).unwrap();
    let bias = grads.get::<1>(layer.bias.as_ref().unwrap().id).unwrap();
    let weight: Vec<f32> = weight.try_into_vec_as().unwrap();
    let bias: Vec<f32> = bias.try_into_vec_as().unwrap();
    assert_close(&weight, &[3.0 / norm; 2]);
    assert_close(&bias, &[4.0 / norm; 2]);

    let (layer, mut grads) = layer_with_grads();
    clip_grad_norm(&mut grads, &layer, 8.0);
    let weight: Vec<f32> = grads.get::<2>(layer.weight.id).unwrap().try_into_vec_as().unwrap();
    assert_eq!(weight, [3.0; 2]);
}

#[test]
fn a_schedule_steps_and_is_recorded() {
    let config = ScheduleConfig::new(1.0, 2, 9);
    let mut schedule = config.init().unwrap();
    assert_eq!([0; 4].map(|_| schedule.step()), [0, 1, 2, 3].map(|s| config.learning_rate_at(s)));
    let mut resumed = config.init().unwrap();
    resumed.load_record(schedule.to_record());
    assert_eq!(resumed.step(), schedule.step());
}

#[test]
fn configurations_are_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let config = config().with_amsgrad(true);
    config.save(&file).unwrap();
    assert_eq!(AdamWL2SPConfig::load(&file).unwrap(), config);
    let schedule = ScheduleConfig::new(2e-5, 10, 100).with_kind(ScheduleKind::Cosine);
    schedule.save(&file).unwrap();
    assert_eq!(ScheduleConfig::load(&file).unwrap(), schedule);
}
