//! Orders over MQTT: update, reset, diagnostics, restart.
