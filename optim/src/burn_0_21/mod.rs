//! The optimizer for Burn 0.21: what of the root of the crate depends on it.

mod anchors;
mod clip;
#[cfg(feature = "flex")]
mod flex;
mod groups;
mod optimizer;
mod rule;
mod schedule;

use burn::config::Config;

pub use anchors::Anchors;
pub use clip::{clip_grad_norm, grad_norm, scale_grads};
pub use groups::Groups;
pub use optimizer::{AdamWL2SPOptimizer, AdamWL2SPRecord};
pub use rule::AdamWL2SPState;

use crate::{AdamWL2SPConfig, ScheduleConfig};

impl Config for AdamWL2SPConfig {}

impl Config for ScheduleConfig {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleKind;

    #[test]
    fn configurations_are_saved_and_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let config = AdamWL2SPConfig::new().with_source_decay(0.5).with_amsgrad(true);
        config.save(&file).unwrap();
        assert_eq!(AdamWL2SPConfig::load(&file).unwrap(), config);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), config.to_string());

        let schedule = ScheduleConfig::new(2e-5, 10, 100).with_kind(ScheduleKind::Cosine);
        schedule.save(&file).unwrap();
        assert_eq!(ScheduleConfig::load(&file).unwrap(), schedule);
        assert!(AdamWL2SPConfig::load(&file).is_err());
    }
}
