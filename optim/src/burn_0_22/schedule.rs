use burn_0_22::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn_0_22::optim::LearningRate;

use crate::Schedule;

impl LrScheduler for Schedule {
    fn step(&mut self) -> LearningRate {
        self.advance()
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar("step") {
            self.step = step;
        }
    }
}
