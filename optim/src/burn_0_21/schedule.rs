use burn::optim::LearningRate;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::backend::Backend;

use crate::Schedule;

impl LrScheduler for Schedule {
    type Record<B: Backend> = usize;

    fn step(&mut self) -> LearningRate {
        self.advance()
    }

    fn to_record<B: Backend>(&self) -> Self::Record<B> {
        self.step
    }

    fn load_record<B: Backend>(mut self, record: Self::Record<B>) -> Self {
        self.step = record;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleConfig;
    use burn::backend::Flex;

    #[test]
    fn a_record_holds_the_step() {
        let config = ScheduleConfig::new(1.0, 2, 9);
        let mut schedule = config.init().unwrap();
        for _ in 0..4 {
            schedule.step();
        }
        let record = schedule.to_record::<Flex>();
        let mut resumed = config.init().unwrap().load_record::<Flex>(record);
        assert_eq!(resumed.step(), schedule.step());
    }
}
