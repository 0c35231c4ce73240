//! The report of a study: many runs of fine-tuning, in arms that differ in settings, paired by seed.
//!
//! [`Run::read`] reads the folder of a run, [`Summary::read`] only its outcome. A [`Study`] arranges the runs in arms, and
//! [`write()`] computes and writes:
//!
//! | file | content |
//! |---|---|
//! | `report.md` | tables, figures, and in words what the data show and what they do not |
//! | `report.html` | the same as one self-contained page |
//! | `report.json` | all statistics |
//! | `runs.csv` | a row for each run |
//! | `figures/*.svg` | the figures, for light and dark pages |
//!
//! The same runs always give the same bytes. [`write_runs`] writes a page about single runs instead.
//!
//! ```
//! use report::{Arm, Run, Study};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! # for (arm, seed, accuracy) in [("adamw", 1, 0.53), ("adamw", 2, 0.61), ("pulled", 1, 0.65), ("pulled", 2, 0.66)] {
//! #     let run = folder.join(format!("runs/{arm}/{seed}"));
//! #     std::fs::create_dir_all(&run)?;
//! #     let summary = format!(r#"{{"eval_accuracy": {accuracy}, "steps": 0, "finished": true}}"#);
//! #     std::fs::write(run.join("summary.json"), summary)?;
//! # }
//! let mut arms = Vec::new();
//! for name in ["adamw", "pulled"] {
//!     let mut runs = Vec::new();
//!     for seed in [1, 2] {
//!         runs.extend(Run::read(&folder.join(format!("runs/{name}/{seed}")), seed)?);
//!     }
//!     arms.push(Arm {
//!         name: name.to_owned(),
//!         plan_name: name.to_owned(),
//!         grid: vec![],
//!         settings: vec![("optimizer".to_owned(), name.to_owned())],
//!         learning_rate: 3e-4,
//!         planned_seeds: vec![1, 2],
//!         runs,
//!     });
//! }
//! report::write(&Study { title: "Two arms".to_owned(), arms }, folder)?;
//! let report = std::fs::read_to_string(folder.join("report.md"))?;
//! assert!(report.contains("4 runs planned, and all have ended."));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod analysis;
mod by_name;
mod content;
mod document;
mod error;
mod figures;
mod plot;
mod predictions;
mod run;
mod runs_csv;
mod runs_report;
mod statistics;
mod study;
mod summary;
mod write;

pub use error::ReportError;
pub use predictions::{LabelledPrediction, Prediction, Predictions};
pub use run::{Evaluation, ReadError, Run, RunState, Step};
pub use runs_report::{NamedRun, write_runs};
pub use study::{Arm, Study};
pub use summary::Summary;
pub use write::write;
