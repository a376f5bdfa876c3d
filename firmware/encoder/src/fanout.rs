//! One fan-out engine for every progressive format.
