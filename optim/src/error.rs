//! Errors of making an optimizer or a schedule.

/// Why an optimizer or a schedule could not be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptimizerError {
    /// A hyper-parameter is out of range or not finite.
    #[error("{field} is {value}, but must be {expected}")]
    InvalidValue {
        /// The configuration field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The values it may have.
        expected: &'static str,
    },

    /// A pattern given to [`ParameterGroups`](crate::ParameterGroups) is not a regular expression.
    #[error("`{pattern}` is not a regular expression: {reason}")]
    InvalidRegex {
        /// The pattern as given.
        pattern: String,
        /// What the regex parser says.
        reason: String,
    },

    /// Rules of [`ParameterGroups`](crate::ParameterGroups) that select no parameter.
    #[error(
        "no parameter of the model matches {}; its parameters are: {}",
        .rules.join(", "),
        .parameters.join(", ")
    )]
    NothingMatches {
        /// The rules, as given.
        rules: Vec<String>,
        /// The paths of all the model's parameters.
        parameters: Vec<String>,
    },

    /// Rules of [`ParameterGroups`](crate::ParameterGroups) that give a tied parameter different roles at its paths.
    #[error(
        "the rules treat tied parameters differently at their paths: {}; name all paths of each",
        .names.join(", ")
    )]
    TiedRolesDiffer {
        /// The paths of each such parameter, joined by ` = `.
        names: Vec<String>,
    },

    /// Tied parameters, where Burn 0.22's `ModuleOptimizer` would step only the first of their paths and so untie them.
    #[error(
        "the parameters {} are tied, and Burn's ModuleOptimizer would untie them; hold each in one place and use it from there",
        .names.join(", ")
    )]
    TiedParameters {
        /// The paths of each such parameter, joined by ` = `.
        names: Vec<String>,
    },

    /// Anchors whose name no parameter of the model has.
    #[error("the model has no parameters for the anchors {}; leave them out, with `Anchors::filter` or a filter of the store", .names.join(", "))]
    UnmatchedAnchors {
        /// The anchors' names.
        names: Vec<String>,
    },

    /// Source parameters for which the given anchors hold no value.
    #[error("the source parameters {} have no anchor; add their anchors, or make them novel", .names.join(", "))]
    MissingAnchors {
        /// The parameters' paths.
        names: Vec<String>,
    },

    /// Anchors whose shape is not their parameter's.
    #[error("the shapes of anchors and parameters differ: {}", .mismatches.join(", "))]
    AnchorShape {
        /// `path: anchor [shape], parameter [shape]`, one entry per anchor.
        mismatches: Vec<String>,
    },

    /// Anchors whose values differ from the model's, where
    /// [`anchors_must_equal_model`](crate::ParameterGroups::anchors_must_equal_model) is set.
    #[error("the anchors of {} differ from the model's current values; load both from the same checkpoint", .names.join(", "))]
    AnchorsDiffer {
        /// The parameters' paths.
        names: Vec<String>,
    },

    /// A record of another module's optimizer.
    #[error("the record holds parameters that the model does not have: {}", .names.join(", "))]
    ForeignRecord {
        /// The parameters' paths.
        names: Vec<String>,
    },

    /// The file or store that should give the anchors cannot be read.
    #[error("cannot read the anchors{}: {reason}", .source_name.as_ref().map(|name| format!(" from {name}")).unwrap_or_default())]
    UnreadableAnchors {
        /// The file, where there is one.
        source_name: Option<String>,
        /// What went wrong.
        reason: String,
    },
}
