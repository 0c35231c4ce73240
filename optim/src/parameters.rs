//! The parameters of a module with their paths, as `encoder.layers.0.norm.gamma`.

/// The path from a module's root to where a visitor or mapper is.
#[derive(Default)]
pub(crate) struct PathStack {
    names: Vec<String>,
    containers: Vec<String>,
}

impl PathStack {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_string());
        self.containers.push(container.to_string());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// `encoder.layers.0.norm.gamma`, as in `burn-store`.
    pub(crate) fn path(&self) -> String {
        self.names.join(".")
    }

    /// Whether this is a parameter with `bias` in its own name, or any parameter of a normalization
    /// module (`LayerNorm`, `BatchNorm`, `RmsNorm` …).
    fn is_bias_or_norm(&self) -> bool {
        let bias = self.names.last().is_some_and(|name| name.contains("bias"));
        let norm = self.containers.last().is_some_and(|container| container.ends_with("Norm"));
        bias || norm
    }

    /// Whether this is a running mean or variance of a batch norm: a float parameter to a visitor, but
    /// never trained.
    pub(crate) fn is_running_statistic(&self) -> bool {
        let running = self.names.last().is_some_and(|name| name.starts_with("running_"));
        running && self.containers.last().is_some_and(|container| container.ends_with("BatchNorm"))
    }
}

/// One float parameter of a module.
pub(crate) struct Parameter {
    id: u64,
    pub(crate) shape: Vec<usize>,
    /// At least one place; several of a tied parameter, in the module's own order.
    pub(crate) places: Vec<Place>,
}

impl Parameter {
    /// The first path, where an optimizer steps the parameter and keeps its state.
    pub(crate) fn path(&self) -> &str {
        &self.places[0].path
    }

    /// All paths, joined by ` = `.
    pub(crate) fn paths(&self) -> String {
        let paths: Vec<&str> = self.places.iter().map(|place| place.path.as_str()).collect();
        paths.join(" = ")
    }
}

/// Where a parameter is in its module.
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) is_bias_or_norm: bool,
}

/// The trainable float parameters of a module in its own order, collected while it is visited.
#[derive(Default)]
pub(crate) struct Parameters {
    pub(crate) path: PathStack,
    pub(crate) found: Vec<Parameter>,
}

impl Parameters {
    /// The visitor is at the parameter with this id and shape.
    pub(crate) fn add(&mut self, id: u64, shape: &[usize]) {
        if self.path.is_running_statistic() {
            return;
        }
        let place = Place { path: self.path.path(), is_bias_or_norm: self.path.is_bias_or_norm() };
        match self.found.iter_mut().find(|parameter| parameter.id == id) {
            Some(parameter) => parameter.places.push(place),
            None => self.found.push(Parameter { id, shape: shape.to_vec(), places: vec![place] }),
        }
    }
}
