//! The optimizer stepped side by side with a naive twin: plain `f64` loops over slices, written
//! from the formula alone.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use adamw_l2sp::{AdamWL2SPConfig, AdamWL2SPState};
use burn::backend::Flex;
use burn::optim::SimpleOptimizer;
use burn::tensor::{Tensor, TensorData};

/// One parameter and its state.
struct Twin {
    config: AdamWL2SPConfig,
    theta: Vec<f64>,
    anchor: Option<Vec<f64>>,
    decayed: bool,
    m: Vec<f64>,
    v: Vec<f64>,
    v_max: Vec<f64>,
    t: i32,
}

impl Twin {
    fn new(config: &AdamWL2SPConfig, theta: &[f32], source: bool, decayed: bool) -> Self {
        let theta: Vec<f64> = theta.iter().map(|&x| f64::from(x)).collect();
        let zeros = vec![0.0; theta.len()];
        Self {
            config: config.clone(),
            anchor: source.then(|| theta.clone()),
            theta,
            decayed,
            m: zeros.clone(),
            v: zeros.clone(),
            v_max: zeros,
            t: 0,
        }
    }

    fn step(&mut self, eta: f64, grad: &[f32]) {
        let AdamWL2SPConfig { beta_1, beta_2, epsilon, .. } = self.config;
        self.t += 1;
        for i in 0..self.theta.len() {
            let g = f64::from(grad[i]) * if self.config.maximize { -1.0 } else { 1.0 };
            if self.decayed {
                match &self.anchor {
                    Some(anchor) => {
                        let rate = eta * self.config.source_decay;
                        self.theta[i] = (1.0 - rate) * self.theta[i] + rate * anchor[i];
                    }
                    None => self.theta[i] *= 1.0 - eta * self.config.novel_decay,
                }
            }
            self.m[i] = beta_1 * self.m[i] + (1.0 - beta_1) * g;
            self.v[i] = beta_2 * self.v[i] + (1.0 - beta_2) * g * g;
            self.v_max[i] = self.v_max[i].max(self.v[i]);
            let v = if self.config.amsgrad { self.v_max[i] } else { self.v[i] };
            let (correction_1, correction_2) = if self.config.bias_correction {
                (1.0 - beta_1.powi(self.t), 1.0 - beta_2.powi(self.t))
            } else {
                (1.0, 1.0)
            };
            let denominator = v.sqrt() / correction_2.sqrt() + epsilon;
            self.theta[i] -= eta / correction_1 * self.m[i] / denominator;
        }
    }
}

/// Pseudo-random numbers in (−1, 1): a linear congruential generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    fn take(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }
}

/// ‖a − b‖ / ‖b‖.
fn relative_error(actual: &[f32], expected: &[f64]) -> f64 {
    let difference: f64 =
        actual.iter().zip(expected).map(|(&a, e)| (f64::from(a) - e).powi(2)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    (difference / norm).sqrt()
}

fn configs() -> Vec<AdamWL2SPConfig> {
    let base =
        AdamWL2SPConfig::new().with_epsilon(1e-6).with_source_decay(0.5).with_novel_decay(0.1);
    vec![
        base.clone(),
        base.clone().with_amsgrad(true),
        base.clone().with_maximize(true),
        base.clone().with_bias_correction(false),
        base.clone().with_bias_correction(false).with_amsgrad(true),
        base.clone().with_beta_1(0.0),
        base.clone().with_beta_1(0.5).with_beta_2(0.9).with_amsgrad(true).with_maximize(true),
        base.with_source_decay(0.0).with_novel_decay(0.0).with_epsilon(1e-8),
    ]
}

/// 60 steps of a parameter of rank `D` in each group, for every configuration; gradients fade from
/// step 30 on, so that amsgrad has something to remember.
fn follow<const D: usize>(shape: [usize; D]) {
    let device = Default::default();
    let count = shape.iter().product();
    for (index, config) in configs().iter().enumerate() {
        for (source, decayed) in [(true, true), (false, true), (true, false), (false, false)] {
            let rule = config.build().unwrap();
            let rule = if source { rule } else { rule.novel() };
            let rule = if decayed { rule } else { rule.undecayed() };

            let mut random = Random(index as u64 * 7 + D as u64);
            let initial = random.take(count, 2.0);
            let mut twin = Twin::new(config, &initial, source, decayed);
            let mut theta = Tensor::<Flex, D>::from_data(TensorData::new(initial, shape), &device);
            let mut state: Option<AdamWL2SPState<Flex, D>> = None;
            for step in 0..60 {
                let eta = 0.05 * f64::from(step % 10) / 9.0;
                let grad = random.take(count, if step < 30 { 3.0 } else { 0.01 });
                twin.step(eta, &grad);
                let grad = Tensor::from_data(TensorData::new(grad, shape), &device);
                (theta, state) = rule.step(eta, theta, grad, state);

                let actual = theta.to_data().to_vec::<f32>().unwrap();
                let error = relative_error(&actual, &twin.theta);
                assert!(
                    error < 2e-6,
                    "{config} source {source} decayed {decayed}, step {step}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn rank_1_follows_the_twin() {
    follow([17]);
}

#[test]
fn rank_2_follows_the_twin() {
    follow([5, 7]);
}

#[test]
fn rank_3_follows_the_twin() {
    follow([2, 3, 4]);
}

#[test]
fn rank_4_follows_the_twin() {
    follow([2, 3, 2, 3]);
}
