//! What a run prints before its first step.

use albert::LoadReport;

use super::progress::Length;
use crate::device::Found;
use crate::model_folder::ModelFolder;
use crate::resume::Output;
use crate::settings::{OptimizerName, Settings};
use crate::terminal::notice;

/// Print the model, the data and the length of the run.
pub(super) fn print(
    settings: &Settings,
    devices: &[Found],
    output: &Output,
    folder: &ModelFolder,
    report: &LoadReport,
    length: &Length,
) {
    let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
    notice(format_args!(
        "device {}, {}; output {}",
        names.join(", "),
        settings.precision.on(devices).name(),
        output.folder().display()
    ));
    let initialized = match report.new.len() {
        0 => String::new(),
        _ => format!(" initialized with seed {} ({})", settings.seed, first_few(&report.new)),
    };
    notice(format_args!(
        "model {}: {} new parameters{initialized}, {} unused tensors",
        folder.source.name(),
        report.new.len(),
        report.unused.len(),
    ));
    notice(format_args!(
        "data {}: {} training and {} validation examples; {} epochs, {} steps{}",
        settings.data.display(),
        length.train_examples,
        length.eval_examples,
        length.epochs,
        length.total_steps,
        settings
            .eval_every
            .map(|steps| format!(", evaluated every {steps} steps"))
            .unwrap_or_default(),
    ));
    let schedule = settings.schedule_config(length.total_steps);
    let is_zero = |step| schedule.learning_rate_at(step) == 0.0;
    if settings.learning_rate > 0.0 && (0..length.total_steps).all(is_zero) {
        notice(format_args!(
            "warning: the learning rate of every step is 0, so nothing is learned; the warm-up starts at 0: use more steps, or \
             --warmup-ratio 0"
        ));
    }
    if let (OptimizerName::AdamWL2SP, Ok(decay)) =
        (settings.optimizer, settings.source_decay(length.total_steps))
    {
        let pull = schedule.total_pull(decay);
        notice(format_args!(
            "pull towards the pretrained weights: λ₁ {}, Σηλ₁ {} (weights without a gradient would return {} % of the way)",
            rounded(decay, 4),
            rounded(pull.sum, 2),
            rounded(100.0 * pull.fraction, 2),
        ));
        if (0..length.total_steps).any(|step| schedule.learning_rate_at(step) * decay > 1.0) {
            notice(format_args!(
                "warning: a step pulls the weights beyond their pretrained values, because its learning rate times λ₁ is above 1"
            ));
        }
    }
}

/// The first names, and the number of the others.
fn first_few(names: &[String]) -> String {
    const FEW: usize = 6;
    match names.len() {
        count if count > FEW => {
            format!("{} and {} more", names[..FEW].join(", "), count - FEW)
        }
        _ => names.join(", "),
    }
}

/// `value` rounded to this number of significant digits.
pub(crate) fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{first_few, rounded};

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (1..=8).map(|number| format!("p{number}")).collect();
        assert_eq!(first_few(&names[..6]), "p1, p2, p3, p4, p5, p6");
        assert_eq!(first_few(&names), "p1, p2, p3, p4, p5, p6 and 2 more");
    }

    #[test]
    fn significant_digits_are_kept() {
        for (value, digits, text) in
            [(0.002_345_6, 2, "0.0023"), (213.675_213, 4, "213.7"), (0.5, 4, "0.5"), (0.0, 2, "0")]
        {
            assert_eq!(rounded(value, digits).to_string(), text);
        }
    }
}
