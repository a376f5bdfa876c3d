//! Settings that `backrow push` brings over MQTT: for a box that no operator reaches by ssh.
//!
//! ```text
//! retained `config` ─▶ verify: signed by who may? ─▶ admit: for this box? newer? ─▶ judge ─▶ put
//!                          │                            │                             │    │ restart
//!                          └──────── refused ◀──────────┴─────────────────────────────┘    ▼
//!   `config/state` ◀── applied ◀──well for a while── on trial ──patience over──▶ back, as it was
//! ```
//! * [`verify`] and [`record`] decide; both are pure. [`applier`] does it, [`health`] says how the box
//!   is meanwhile.
//!
//! What was taken is written down before it is done, so that after a loss of power the box goes on
//! where it was; and a revision with which it went back is not taken again.

pub mod applier;
pub mod health;
pub mod record;
pub mod verify;
