//! What a report says: the tables, and in words what the data show and what they do not.

use metrics::Metric;

use crate::analysis::{Analysis, ArmSummary, Comparison, Family};
use crate::document::{Block, Document, Table};
use crate::figures::Figures;
use crate::statistics::{EXACT_LIMIT, RESAMPLES, SIGN_PATTERNS};
use crate::study::describe;

/// The level below which an adjusted p-value counts as evidence of a difference.
const LEVEL: f64 = 0.05;

/// The report of a study.
pub(crate) fn document(analysis: &Analysis, figures: Figures) -> Document {
    let mut blocks = vec![Block::Paragraph(progress(analysis))];
    let Some(metric) = analysis.metric else {
        blocks.extend(settings(analysis));
        return Document { title: analysis.title.clone(), blocks };
    };
    blocks.push(Block::Heading(format!("Final {} of each arm", metric.title())));
    blocks.push(arms_table(analysis));
    blocks.push(Block::Paragraph(format!(
        "The {} is that of the last evaluation of each ended run, on the validation split. {} Brackets hold 95% \
         intervals.",
        metric.title(),
        failed_definition(analysis, metric)
    )));
    blocks.extend(figures.results.into_iter().map(Block::Figure));
    for family in Family::ALL {
        blocks.extend(comparisons(analysis, metric, family));
    }
    blocks.push(Block::Heading("What the data do not show".into()));
    blocks.push(Block::List(limits(analysis)));
    if !figures.curves.is_empty() {
        blocks.push(Block::Heading("Curves".into()));
        blocks.extend(figures.curves.into_iter().map(Block::Figure));
    }
    blocks.extend(settings(analysis));
    blocks.push(Block::Heading("Methods".into()));
    blocks.push(Block::List(methods()));
    Document { title: analysis.title.clone(), blocks }
}

/// How many of the planned runs have ended.
fn progress(analysis: &Analysis) -> String {
    let Analysis { planned, left, .. } = analysis;
    let diverged: usize = analysis.arms.iter().map(|(_, arm)| arm.diverged).sum();
    let diverged = match diverged {
        0 => String::new(),
        count => format!(", {count} of them by diverging"),
    };
    match (planned - left, left) {
        (0, 0) => "The plan has no runs.".to_owned(),
        (0, _) => format!(
            "None of the {} has ended yet: there is nothing to report.",
            count(*planned, "planned run")
        ),
        (_, 0) => format!("{} planned, and all have ended{diverged}.", count(*planned, "run")),
        (ended, _) => format!(
            "{ended} of {} have ended{diverged}. {left} are left, so everything below is provisional: it counts ended \
             runs only.",
            count(*planned, "planned run")
        ),
    }
}

fn arms_table(analysis: &Analysis) -> Block {
    let header = ["arm", "n", "mean ± sd", "median", "IQM", "min", "max", "failed", "% failed"];
    let row = |(name, arm): &(String, ArmSummary)| {
        vec![
            name.clone(),
            arm.n.to_string(),
            format!("{} ± {}", number(arm.mean), number(arm.sd)),
            number(arm.median),
            format!("{} {}", number(arm.iqm), interval(arm.iqm_interval)),
            number(arm.min),
            number(arm.max),
            arm.failed.to_string(),
            percentages(arm),
        ]
    };
    Block::Table(Table {
        header: header.map(str::to_owned).to_vec(),
        rows: analysis.arms.iter().map(row).collect(),
        text_columns: 1,
        wrapped: false,
    })
}

/// The share of failed runs and its interval, in percent.
fn percentages(arm: &ArmSummary) -> String {
    if arm.n == 0 {
        return "–".to_owned();
    }
    let share = arm.failed as f64 / arm.n as f64;
    let [share, low, high] =
        [share, arm.failed_interval[0], arm.failed_interval[1]].map(|share| 100.0 * share);
    format!("{share:.0} [{low:.0}, {high:.0}]")
}

fn failed_definition(analysis: &Analysis, metric: Metric) -> String {
    match (metric.chance_level(), analysis.majority) {
        (Some(chance), _) => {
            format!("A run failed if it diverged or ended with a correlation of {chance} or less.")
        }
        (_, Some(majority)) => format!(
            "A run failed if it diverged or did not end above the {} of always predicting the majority class, {}.",
            metric.title(),
            number(majority)
        ),
        (_, None) => format!(
            "A run failed if it diverged or did not end above the {} of always predicting the majority class.",
            metric.title()
        ),
    }
}

/// The table of a family of comparisons, and a sentence about each.
fn comparisons(analysis: &Analysis, metric: Metric, family: Family) -> Vec<Block> {
    let members: Vec<&Comparison> =
        analysis.comparisons.iter().filter(|comparison| comparison.family == family).collect();
    if members.is_empty() {
        return Vec::new();
    }
    let (heading, introduction) = match family {
        Family::SameSettings => (
            "Comparison, seed by seed",
            "Each arm against the first arm of the plan, at equal settings otherwise.",
        ),
        Family::OverGrid => (
            "Comparison over the whole grid",
            "The mean over the grid's points, for seeds that have ended at all of them. It asks which arm does better \
             if the point is not tuned.",
        ),
        Family::OwnBest => (
            "Comparison of each arm at its own best",
            "Each arm at the point of the grid where its mean is highest. The best was chosen with the same runs that \
             are compared here, which makes every arm look better than it is, the more so the more its runs vary. The \
             intervals and p-values do not account for the choice: new seeds at the chosen points would.",
        ),
    };
    let mut header = vec!["arm − baseline", "pairs", "mean difference", "p", "p, Holm"];
    let has_failed = members.iter().any(|member| !member.failed_p.is_nan());
    if has_failed {
        header.extend(["failed: only arm / only baseline", "McNemar p, Holm"]);
    }
    let row = |member: &&Comparison| {
        let Names { arm, baseline, place } = names(analysis, member);
        let mut cells = vec![
            format!("{arm} − {baseline}{place}"),
            member.pairs.to_string(),
            format!("{} {}", signed(member.difference), interval(member.interval)),
            p_value(member.p),
            p_value(member.p_holm),
        ];
        if has_failed {
            let (arm, baseline) = (member.arm_only_failed, member.baseline_only_failed);
            cells.extend([format!("{arm} / {baseline}"), p_value(member.failed_p_holm)]);
        }
        cells
    };
    let table = Table {
        header: header.into_iter().map(str::to_owned).collect(),
        rows: members.iter().map(row).collect(),
        text_columns: 1,
        wrapped: false,
    };
    // Those without a p value, because too few of their seeds have ended, are not part of Holm's correction.
    let size = members.iter().filter(|member| !member.p.is_nan()).count();
    let verdict = |member: &&Comparison| verdict(member, names(analysis, member), metric, size);
    vec![
        Block::Heading(heading.into()),
        Block::Paragraph(introduction.into()),
        Block::Table(table),
        Block::List(members.iter().map(verdict).collect()),
    ]
}

/// What a reader calls the two sides of a comparison.
struct Names<'a> {
    arm: &'a str,
    baseline: &'a str,
    /// The point of the grid that they share, such as ` at learning-rate=3e-4`; empty if there is none.
    place: String,
}

fn names<'a>(analysis: &'a Analysis, comparison: &'a Comparison) -> Names<'a> {
    let of = |name: &str| analysis.arms.iter().find(|(arm, _)| arm == name).map(|(_, arm)| arm);
    match (comparison.family, of(&comparison.arm), of(&comparison.baseline)) {
        (Family::SameSettings, Some(arm), Some(baseline)) if !arm.grid.is_empty() => Names {
            arm: &arm.plan_name,
            baseline: &baseline.plan_name,
            place: format!(" at {}", describe(&arm.grid)),
        },
        _ => Names { arm: &comparison.arm, baseline: &comparison.baseline, place: String::new() },
    }
}

/// What one comparison of a family of this size shows, and what it could not have shown.
fn verdict(comparison: &Comparison, names: Names, metric: Metric, family: usize) -> String {
    let Names { arm, baseline, place } = names;
    let Comparison { pairs, difference, interval: [low, high], .. } = *comparison;
    if pairs < 2 {
        let ended = if pairs == 0 { "no seed has" } else { "only one seed has" };
        return format!(
            "{arm} and {baseline}{place}: {ended} ended in both, too few to compare them."
        );
    }
    let adjusted = if family > 1 { "Holm-adjusted p" } else { "p" };
    let failed = match comparison.failed_p_holm {
        p if p < LEVEL => format!(
            " Their failed runs differ: in {} only {arm} failed, in {} only {baseline} (McNemar, {adjusted} {}).",
            count(comparison.arm_only_failed, "pair"),
            count(comparison.baseline_only_failed, "pair"),
            equals(p)
        ),
        p if p.is_nan() => String::new(),
        _ => " No difference in failed runs is shown.".to_owned(),
    };
    let p = equals(comparison.p_holm);
    let interval = match low.is_nan() {
        true => String::new(),
        false => format!("95% interval {} to {}, ", signed(low), signed(high)),
    };
    if comparison.p_holm < LEVEL {
        let direction = if difference > 0.0 { "higher" } else { "lower" };
        let caution = match comparison.family {
            Family::OwnBest => " New seeds at the chosen points must confirm it.",
            _ => "",
        };
        return format!(
            "{arm} ends with a {direction} {} than {baseline}{place}, by {} on average over {pairs} pairs \
             ({interval}{adjusted} {p}).{caution}{failed}",
            metric.title(),
            number(difference.abs())
        );
    }
    let without_zero = match low > 0.0 || high < 0.0 {
        true => {
            " The interval excludes 0, but it is too narrow for few pairs and not adjusted for the number of \
             comparisons: the permutation test decides."
        }
        false => "",
    };
    let smallest = comparison.smallest_p_holm;
    let power = match comparison.detectable_difference {
        _ if smallest >= LEVEL => {
            let correction = match family {
                1 => String::new(),
                _ => format!(" after Holm's correction over {family} comparisons"),
            };
            format!(
                " With {pairs} pairs the smallest possible p{correction} is {}: no difference, however large, could \
                 have been shown.",
                p_value(smallest)
            )
        }
        detectable if detectable > 0.0 => format!(
            " With {pairs} pairs that scatter as these do, a true difference of less than {} would have been missed \
             in more than one of five such studies.",
            number(detectable)
        ),
        _ => String::new(),
    };
    format!(
        "{arm} and {baseline}{place}: no difference is shown ({interval}{adjusted} {p}).{without_zero}{power}{failed}"
    )
}

/// What holds for every study, and what this one leaves open.
fn limits(analysis: &Analysis) -> Vec<String> {
    let mut limits = vec![
        "Other data: seeds vary the new weights, the dropout and the data order. The training and validation examples \
         do not depend on the seed, so the intervals say what other seeds would give and not what other examples would."
            .to_owned(),
        "Other settings: an arm that is better here may be worse with another model, task, learning rate or length of \
         training."
            .to_owned(),
    ];
    if analysis.comparisons.iter().any(|comparison| comparison.p_holm >= LEVEL) {
        limits.push(
            "That two arms are equal: where no difference is shown, any difference within the interval is compatible with the data.".to_owned(),
        );
    }
    let without_failure: Vec<&(String, ArmSummary)> =
        analysis.arms.iter().filter(|(_, arm)| arm.n > 0 && arm.failed == 0).collect();
    if let Some((name, arm)) = without_failure.iter().min_by_key(|(_, arm)| arm.n) {
        let subject = match &without_failure[..] {
            [_] => format!("{name} never fails"),
            _ => "the arms without a failed run never fail".to_owned(),
        };
        limits.push(format!(
            "That {subject}: no failure in {} is compatible with a failure rate of up to {}%.",
            count(arm.n, "run"),
            (100.0 * arm.failed_interval[1]).round()
        ));
    }
    if analysis.comparisons.is_empty() {
        limits.push("Whether another arm would do better: the plan has one arm only, so nothing is compared.".to_owned());
    }
    if Family::ALL
        .iter()
        .filter(|family| analysis.comparisons.iter().any(|c| c.family == **family))
        .count()
        > 1
    {
        limits.push(
            "p-values are adjusted within a table and not across tables: choosing the table that looks best afterwards \
             is one more choice that they do not account for."
                .to_owned(),
        );
    }
    if analysis.left > 0 {
        limits.push(format!(
            "The end of the study: {} left. Stopping as soon as a p-value is small makes false findings likely.",
            match analysis.left {
                1 => "1 run is".to_owned(),
                left => format!("{left} runs are"),
            }
        ));
    }
    limits
}

/// The settings of each arm, if any differ.
fn settings(analysis: &Analysis) -> Vec<Block> {
    let row = |(name, arm): &(String, ArmSummary)| {
        let ended = match arm.left {
            0 => arm.n.to_string(),
            left => format!("{} of {}", arm.n, arm.n + left),
        };
        vec![name.clone(), describe(&arm.settings), ended]
    };
    if analysis.arms.is_empty() {
        return Vec::new();
    }
    let table = Table {
        header: ["arm", "settings", "ended runs"].map(str::to_owned).to_vec(),
        rows: analysis.arms.iter().map(row).collect(),
        text_columns: 2,
        wrapped: false,
    };
    vec![Block::Heading("Arms".into()), Block::Table(table)]
}

/// How everything was computed.
fn methods() -> Vec<String> {
    vec![
        "IQM is the interquartile mean: a quarter of the runs is removed at each end (Agarwal et al. 2021, arXiv \
         2108.13264)."
            .to_owned(),
        format!(
            "Intervals of the IQM and of differences: percentile bootstrap over seeds, {RESAMPLES} resamples with a \
             fixed seed; the strata are the tasks, of which a study has one unless its grid says otherwise. With few \
             runs such intervals are somewhat too narrow. Intervals of shares: Wilson's."
        ),
        format!(
            "p: two-sided permutation test of the paired differences, whose signs are flipped in all ways, up to \
             {EXACT_LIMIT} pairs, and in {SIGN_PATTERNS} random ways beyond. McNemar's test is exact. report.json also \
             has Fisher's test of the failed runs, which does not use the pairing."
        ),
        "Pairs are runs with the same seed that ended in both arms. Holm's correction is over the rows of a table."
            .to_owned(),
        "The difference below which one study in five or more would have missed it is Bloom's minimum detectable effect of the \
         paired t-test at the level 0.05 without correction (Bloom 1995)."
            .to_owned(),
        "A run that diverged counts as failed, with the metric of its last evaluation or else that of the majority \
         class. Unfinished runs count nowhere."
            .to_owned(),
    ]
}

/// A metric or a difference, with three decimals; a dash for what is undefined.
fn number(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { minus(format!("{value:.3}")) }
}

fn signed(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { minus(format!("{value:+.3}")) }
}

fn interval([low, high]: [f64; 2]) -> String {
    if low.is_nan() { String::new() } else { format!("[{}, {}]", number(low), number(high)) }
}

fn p_value(p: f64) -> String {
    match p {
        p if p.is_nan() => "–".to_owned(),
        p if p < 1e-4 => "< 0.0001".to_owned(),
        p if p < 0.001 => format!("{p:.4}"),
        p => format!("{p:.3}"),
    }
}

/// `= 0.031` or `< 0.0001`.
fn equals(p: f64) -> String {
    let text = p_value(p);
    if text.starts_with('<') { text } else { format!("= {text}") }
}

/// With a real minus sign, and none before zero.
fn minus(text: String) -> String {
    let zero = text.chars().all(|character| "+-0.".contains(character));
    if zero { text.replace(['-', '+'], "") } else { text.replace('-', "−") }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
