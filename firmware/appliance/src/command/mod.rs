//! Orders to the box, from MQTT and from its page: update, reset, diagnostics, restart.
//!
//! ```text
//! MQTT `command` ─▶ parse ─▶ ledger: again? expired? ─▶ desk ─▶ install · reset · diagnostics · …
//!       `command/ack` ◀── accepted ◀──────────┴── done, refused, failed ◀─┘
//! page ─────────────────────────────────────────▶ desk ─▶ its answer
//! ```
//! Who may order is the broker's business (its ACL), and the page's (its token).

pub mod desk;
pub mod identify;
pub mod ledger;
pub mod listen;
