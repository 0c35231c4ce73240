//! The optimizer compared with recorded runs of the original: every parameter after every step.
//!
//! A case holds `case.json` and `tensors.safetensors` with `init/NAME`, `grad/STEP/NAME` and
//! `param/STEP/NAME`; a parameter without a gradient at a step is unchanged.

use std::path::Path;

use adamw_l2sp::{AdamWL2SP, AdamWL2SPConfig};
use burn::optim::SimpleOptimizer;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use l2sp::device::Work;
use serde::Deserialize;
use tests::{Array, Arrays, Report, cases, on_every_device, read_json};

/// The relative tolerance. The original itself is within 2e-6 of the exact rule.
const TOLERANCE: f64 = 5e-6;

#[derive(Deserialize)]
struct Case {
    steps: usize,
    lr: Vec<f64>,
    beta1: f64,
    beta2: f64,
    eps: f64,
    decay_source: f64,
    decay_novel: f64,
    amsgrad: bool,
    maximize: bool,
    source: Vec<String>,
    decayed: Vec<String>,
}

#[test]
fn every_parameter_agrees_with_the_original_after_every_step() {
    #[derive(Clone, Copy)]
    struct Suite;
    impl Work for Suite {
        type Output = ();

        fn on<B: AutodiffBackend>(self, device: B::Device) {
            follow_every_case::<B::InnerBackend>(&device);
        }
    }
    on_every_device(Suite);
}

fn follow_every_case<B: Backend>(device: &B::Device) {
    let mut report = Report::default();
    for folder in cases("optim") {
        let case: Case = read_json(&folder.join("case.json"));
        let arrays = Arrays::read(&folder.join("tensors.safetensors"));
        assert_eq!(case.lr.len(), case.steps, "{}", folder.display());
        for (name, initial) in arrays.below("init/") {
            let replay =
                Replay::<B> { folder: &folder, case: &case, arrays: &arrays, name, device };
            match initial.shape.len() {
                1 => replay.follow::<1>(initial, &mut report),
                2 => replay.follow::<2>(initial, &mut report),
                3 => replay.follow::<3>(initial, &mut report),
                4 => replay.follow::<4>(initial, &mut report),
                rank => panic!("{}: {name} has rank {rank}", folder.display()),
            }
        }
    }
    report.finish();
}

struct Replay<'a, B: Backend> {
    device: &'a B::Device,
    folder: &'a Path,
    case: &'a Case,
    arrays: &'a Arrays,
    name: &'a str,
}

impl<B: Backend> Replay<'_, B> {
    fn rule(&self) -> AdamWL2SP {
        let Case { beta1, beta2, eps, decay_source, decay_novel, amsgrad, maximize, .. } =
            self.case;
        let rule = AdamWL2SPConfig::new()
            .with_beta_1(*beta1)
            .with_beta_2(*beta2)
            .with_epsilon(*eps)
            .with_source_decay(*decay_source)
            .with_novel_decay(*decay_novel)
            .with_amsgrad(*amsgrad)
            .with_maximize(*maximize)
            .build()
            .expect("a valid case");
        let listed = |names: &[String]| names.iter().any(|name| name == self.name);
        let rule = if listed(&self.case.source) { rule } else { rule.novel() };
        if listed(&self.case.decayed) { rule } else { rule.undecayed() }
    }

    fn follow<const D: usize>(&self, initial: &Array, report: &mut Report) {
        let rule = self.rule();
        let mut theta: Tensor<B, D> = initial.tensor(self.device);
        let mut state = None;
        for (step, &lr) in (1..).zip(&self.case.lr) {
            if let Some(grad) = self.arrays.find(&format!("grad/{step}/{}", self.name)) {
                (theta, state) = rule.step(lr, theta, grad.tensor(self.device), state);
            }
            let expected = self.arrays.get(&format!("param/{step}/{}", self.name));
            let error = expected.relative_error(&theta.clone().into());
            let what = format!("{} after step {step}", self.name);
            report.check(self.folder, "relative error", &what, error, TOLERANCE);
        }
    }
}
