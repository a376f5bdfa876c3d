//! `[uplink]`: what a collector keeps while the encoder is away.

use std::path::{Path, PathBuf};

use super::{section::Section, units::ByteSize};

/// Sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Segments kept in memory while the encoder is away, in all.
    pub memory: ByteSize,
    /// Where segments are kept on disk; `None`: in memory only.
    pub spool: Option<PathBuf>,
    /// Space that the spool leaves free on its disk.
    pub spool_min_free: ByteSize,
}

/// Reads the table; paths start at `base`.
pub(super) fn read(root: &Section<'_, '_, '_>, base: &Path) -> Uplink {
    let section = root.section("uplink");
    let memory = section.or("memory", ByteSize(64 << 20));
    if memory.0 < 1 << 20 {
        let why =
            format!("`memory` in [uplink] is {memory}; it must be at least 1MiB, a few seconds");
        section.problem("memory", why);
    }
    let spool = section.optional::<PathBuf>("spool").map(|path| base.join(path));
    let spool_min_free = section.or("spool_min_free", ByteSize(256 << 20));
    section.close();
    Uplink { memory, spool, spool_min_free }
}
