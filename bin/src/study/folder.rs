//! The folder of a study: `plan.toml`, and the output folder of each run as `runs/ARM/SEED`.

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum;
use files::UNFINISHED;
use report::{ReadError, Run, Summary};

use super::plan::{self, Arm, Plan};
use crate::ProgramError;
use crate::resume::Output;
use crate::settings::{Settings, differences};

/// A plan and the runs in its folder.
#[derive(Debug)]
pub(crate) struct Study {
    /// What is to be run.
    pub plan: Plan,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RunState {
    /// Not begun.
    Planned,
    /// Begun, and interrupted or still running.
    Begun,
    /// Finished, or ended by a loss that was not finite: there is nothing left to do.
    Done(Box<Summary>),
}

/// Which models a study keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepModels {
    /// Keep no models.
    #[default]
    None,
    /// Keep the model of the best run of each arm.
    Best,
    /// Keep the models of all runs.
    All,
}

impl Study {
    /// Begin the study of a plan, or continue it.
    ///
    /// # Errors
    /// The folder has another study or something else in it, or it cannot be written.
    pub(crate) fn open(plan: Plan) -> Result<Self, ProgramError> {
        let path = plan.output.join(plan::FILE);
        match Plan::in_folder(&plan.output) {
            Ok(then) => {
                let changes = plan.changes(&then);
                if !changes.is_empty() {
                    return Err(ProgramError::OtherPlan { folder: plan.output, changes });
                }
            }
            Err(_) if !path.exists() => {
                let entries = fs::read_dir(&plan.output).into_iter().flatten().flatten();
                let foreign = entries
                    .map(|entry| entry.file_name())
                    .any(|name| !name.to_string_lossy().starts_with(UNFINISHED));
                // Another shard may have begun the study meanwhile.
                if foreign && !path.exists() {
                    return Err(ProgramError::NotAStudy(plan.output));
                }
                fs::create_dir_all(&plan.output)
                    .map_err(ProgramError::io("create", &plan.output))?;
            }
            Err(error) => return Err(error),
        }
        let study = Self { plan };
        study.check_runs()?;
        let text = study.plan.to_toml()?;
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            files::write(&path, text.as_bytes()).map_err(ProgramError::io("write", &path))?;
        }
        Ok(study)
    }

    /// The study of a plan that has been started.
    ///
    /// # Errors
    /// It has not, or there are runs that are not of this plan.
    pub(crate) fn started(plan: Plan) -> Result<Self, ProgramError> {
        if !plan.output.join(plan::FILE).is_file() {
            return Err(ProgramError::Usage(format!(
                "{}: the study has not been started; use `l2sp study run`",
                plan.output.display()
            )));
        }
        let study = Self { plan };
        study.check_runs()?;
        Ok(study)
    }

    /// Refuse runs that were computed with other settings than those of the plan, whose copy in the folder may have been edited.
    fn check_runs(&self) -> Result<(), ProgramError> {
        let mut changes = Vec::new();
        for (arm, seed) in self.runs() {
            let config = Output::config_of(&self.plan.run_folder(arm, seed));
            let Ok(then) = Settings::from_file(&config) else { continue };
            let now = self.plan.settings(arm, seed).to_table();
            for difference in differences(&then.to_table(), &now) {
                let change = format!("arm {}: {difference}", arm.name);
                if !changes.contains(&change) {
                    changes.push(change);
                }
            }
        }
        match changes.is_empty() {
            true => Ok(()),
            false => Err(ProgramError::OtherPlan { folder: self.plan.output.clone(), changes }),
        }
    }

    /// All runs, seed by seed, so that an unfinished study can compare its arms.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&Arm, u64)> {
        let Plan { seeds, arms, .. } = &self.plan;
        seeds.iter().flat_map(move |seed| arms.iter().map(move |arm| (arm, *seed)))
    }

    /// How far a run is.
    pub(crate) fn state(&self, arm: &Arm, seed: u64) -> RunState {
        let folder = self.plan.run_folder(arm, seed);
        // A damaged summary is one that is still to be written.
        match Summary::read(&folder).ok().flatten() {
            Some(summary) if summary.state() != report::RunState::Unfinished => {
                RunState::Done(Box::new(summary))
            }
            _ if folder.exists() => RunState::Begun,
            _ => RunState::Planned,
        }
    }

    /// Write the report of the runs so far into the study's folder. Returns the path of its page.
    ///
    /// # Errors
    /// A run's files that cannot be read, or a report that cannot be written.
    pub(crate) fn write_report(&self) -> Result<PathBuf, ProgramError> {
        let Plan { output, seeds, arms, .. } = &self.plan;
        let arms = arms.iter().map(|arm| {
            let runs = seeds.iter().map(|seed| Run::read(&self.plan.run_folder(arm, *seed), *seed));
            Ok(report::Arm {
                name: arm.name.clone(),
                plan_name: arm.plan_name.clone(),
                grid: arm.grid.clone(),
                settings: arm.own.clone(),
                learning_rate: arm.settings.learning_rate,
                planned_seeds: seeds.clone(),
                runs: runs.filter_map(Result::transpose).collect::<Result<_, ReadError>>()?,
            })
        });
        let arms = arms.collect::<Result<_, ReadError>>()?;
        let title = output.file_name().unwrap_or(output.as_os_str()).to_string_lossy().into();
        Ok(report::write(&report::Study { title, arms }, output)?)
    }

    /// Whether every run is done.
    pub(crate) fn is_complete(&self) -> bool {
        self.runs().all(|(arm, seed)| matches!(self.state(arm, seed), RunState::Done(_)))
    }

    /// Remove what a run that is done does not need any more: its checkpoints, and for [`KeepModels::Best`] the models of its
    /// arm but the best. [`KeepModels::None`] removes no model: those that are there were kept on purpose.
    ///
    /// # Errors
    /// A folder that cannot be removed.
    pub(crate) fn tidy(&self, arm: &Arm, seed: u64, keep: KeepModels) -> Result<(), ProgramError> {
        Output::remove_checkpoints_of(&self.plan.run_folder(arm, seed))?;
        if keep != KeepModels::Best {
            return Ok(());
        }
        let value = |seed| match self.state(arm, seed) {
            RunState::Done(summary)
                if summary.state() == report::RunState::Finished
                    && Output::has_model(&self.plan.run_folder(arm, seed)) =>
            {
                summary.main_metric()
            }
            _ => None,
        };
        // A run whose model an earlier command did not keep competes no more.
        let done = self.plan.seeds.iter().filter_map(|seed| Some((*seed, value(*seed)?)));
        // The first of equal ones.
        let best = done.clone().reduce(|best, it| if it.1 > best.1 { it } else { best });
        done.map(|(seed, _)| seed)
            .chain([seed])
            .filter(|seed| Some(*seed) != best.map(|best| best.0))
            .try_for_each(|seed| Output::remove_model_of(&self.plan.run_folder(arm, seed)))
    }
}
