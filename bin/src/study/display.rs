//! The progress of a study: bars on a terminal, elsewhere a line for each run that ends.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar};
use report::Summary;

use super::Study;
use super::shard::Shard;
use super::worker::Task;
use crate::terminal::{bar, notice};

/// Shows the progress of all runs and of those being computed.
pub(super) struct Display {
    /// The bars, on a terminal.
    bars: Option<Bars>,
    started: Instant,
    /// All runs of the study.
    planned: usize,
    done: usize,
    failed: usize,
    /// The runs that were left at the start, and those of them that have ended.
    left: usize,
    ended: usize,
    /// The share of each worker's run that is computed, and that was computed before.
    shares: Vec<Share>,
    /// The lines that were shown, so that each worker's notices about the same data appear once.
    shown: BTreeSet<String>,
}

#[derive(Clone, Copy, Default)]
struct Share {
    first: Option<f64>,
    last: f64,
}

struct Bars {
    all: MultiProgress,
    study: ProgressBar,
    runs: Vec<ProgressBar>,
}

impl Display {
    pub(super) fn new(study: &Study, shard: Shard, done: &[Summary], left: usize) -> Self {
        let planned = study.runs().count();
        let of_shard = match shard {
            Shard::WHOLE => String::new(),
            Shard { index, of } => format!(" in shard {index}/{of}"),
        };
        let plan = &study.plan;
        notice(format_args!(
            "study {}: {} arms × {} seeds, {planned} runs; {} done, {left} left{of_shard}",
            plan.output.display(),
            plan.arms.len(),
            plan.seeds.len(),
            done.len(),
        ));
        let bars = (std::io::stderr().is_terminal() && left > 0).then(|| {
            let all = MultiProgress::new();
            let study = all.add(bar(planned as u64, "{bar:30} {pos}/{len} runs  {msg}"));
            study.set_position(done.len() as u64);
            Bars { all, study, runs: Vec::new() }
        });
        Self {
            bars,
            started: Instant::now(),
            planned,
            done: done.len(),
            failed: done.iter().filter(|summary| summary.has_failed()).count(),
            left,
            ended: 0,
            shares: Vec::new(),
            shown: BTreeSet::new(),
        }
    }

    /// Show a line, unless it was shown before.
    pub(super) fn log(&mut self, line: &str) {
        if self.shown.insert(line.to_owned()) {
            self.print(line);
        }
    }

    /// A worker begins a run.
    pub(super) fn begin(&mut self, worker: usize, task: &Task) {
        if self.shares.len() <= worker {
            self.shares.resize(worker + 1, Share::default());
        }
        self.shares[worker] = Share::default();
        if let Some(bars) = &mut self.bars {
            while bars.runs.len() <= worker {
                // Its length is known after the first step; without one it would be drawn as full.
                bars.runs.push(bars.all.add(bar(1, "{bar:30} {pos}/{len} steps  {msg}")));
            }
            bars.runs[worker].set_position(0);
            bars.runs[worker].set_message(name(task));
        }
    }

    /// A worker's run has taken `step` of its steps.
    pub(super) fn step(&mut self, worker: usize, step: usize, of: usize) {
        let Some(share) = self.shares.get_mut(worker) else { return };
        share.last = step as f64 / of.max(1) as f64;
        share.first.get_or_insert(share.last);
        let time_left = self.time_left();
        if let Some(bars) = &self.bars {
            bars.runs[worker].set_length(of as u64);
            bars.runs[worker].set_position(step as u64);
            bars.study.set_message(format!("{} failed{time_left}", self.failed));
        }
    }

    /// A worker's run is done.
    pub(super) fn done(&mut self, worker: usize, task: &Task, summary: &Summary) {
        self.done += 1;
        self.failed += usize::from(summary.has_failed());
        self.end(worker);
        let value = match (summary.diverged_at, summary.main_metric()) {
            (Some(step), _) => format!("diverged at step {step}"),
            (None, Some(value)) => format!("{} {value:.4}", summary.metric.key()),
            (None, None) => "no evaluation".to_owned(),
        };
        let failed = if summary.has_failed() { ", failed" } else { "" };
        let line = format!(
            "{}: {value}{failed}; {}/{} runs done, {} failed{}",
            name(task),
            self.done,
            self.planned,
            self.failed,
            self.time_left()
        );
        self.print(&line);
    }

    /// A worker's run ended without a result.
    pub(super) fn ended(&mut self, worker: usize, task: &Task, how: &str) {
        self.end(worker);
        self.print(&format!("{}: {how}", name(task)));
    }

    /// Remove the bars. Returns the number of runs that are done.
    pub(super) fn finish(self) -> usize {
        if let Some(bars) = self.bars {
            bars.all.clear().ok();
        }
        self.done
    }

    fn end(&mut self, worker: usize) {
        self.ended += 1;
        if let Some(share) = self.shares.get_mut(worker) {
            *share = Share::default();
        }
        if let Some(bars) = &self.bars {
            bars.study.set_position(self.done as u64);
            if let Some(bar) = bars.runs.get(worker) {
                bar.set_message("");
            }
        }
    }

    /// An estimate of the time that the runs left will take, from the time of those computed since the start.
    fn time_left(&self) -> String {
        let running = self.shares.iter();
        let computed = self.ended as f64
            + running
                .clone()
                .map(|share| share.last - share.first.unwrap_or(share.last))
                .sum::<f64>();
        let left = (self.left - self.ended) as f64 - running.map(|share| share.last).sum::<f64>();
        if computed <= 0.0 || left <= 0.0 {
            return String::new();
        }
        let seconds = self.started.elapsed().as_secs_f64() / computed * left;
        let left = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        format!(", ETA {}", HumanDuration(left))
    }

    fn print(&self, line: &str) {
        match &self.bars {
            Some(bars) => drop(bars.all.println(line)),
            None => notice(format_args!("{line}")),
        }
    }
}

fn name(task: &Task) -> String {
    format!("{}, seed {}", task.arm, task.seed)
}
