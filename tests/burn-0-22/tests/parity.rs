//! The optimizer compared with recorded runs of the original: every parameter after every step.

use std::path::Path;

use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor};
use tests_burn_0_22::{Array, Arrays, OPTIM_TOLERANCE, OptimCase, Report, cases};

#[test]
fn every_parameter_agrees_with_the_original_after_every_step() {
    let mut report = Report::default();
    for folder in cases("optim") {
        let (case, arrays) = OptimCase::read(&folder);
        for (name, initial) in arrays.below("init/") {
            let replay = Replay { folder: &folder, case: &case, arrays: &arrays, name };
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

struct Replay<'a> {
    folder: &'a Path,
    case: &'a OptimCase,
    arrays: &'a Arrays,
    name: &'a str,
}

impl Replay<'_> {
    fn follow<const D: usize>(&self, initial: &Array, report: &mut Report) {
        let device = Device::flex();
        let rule = self.case.rule(self.name);
        let mut theta: Tensor<D> = initial.tensor(&device);
        let mut state = None;
        for (step, &lr) in (1..).zip(&self.case.lr) {
            if let Some(grad) = self.arrays.find(&format!("grad/{step}/{}", self.name)) {
                (theta, state) = rule.step(lr, theta, grad.tensor(&device), state);
            }
            let expected = self.arrays.get(&format!("param/{step}/{}", self.name));
            let error = expected.relative_error(&theta.clone().into());
            let what = format!("{} after step {step}", self.name);
            report.check(self.folder, "relative error", &what, error, OPTIM_TOLERANCE);
        }
    }
}
