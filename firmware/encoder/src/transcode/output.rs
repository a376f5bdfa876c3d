//! The worker's one output: frames to stdout, one at a time, from whichever thread has one.

use std::{
    fs::File,
    io::{IoSlice, Write},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::frame::Frame;

/// Monotonic time.
pub(crate) type Now = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A write that lasts longer means that the reader is behind, not a rendition.
const SLOW_MS: u64 = 300;

/// Writes frames; a reader that is slow holds the worker back, one that is gone ends it.
pub(crate) struct Output {
    file: Mutex<File>,
    /// When the write under way began, ms; 0: none is.
    since: AtomicU64,
    gone: AtomicBool,
    now: Now,
}

impl Output {
    /// On this process's stdout, past the line buffering of [`std::io::Stdout`].
    pub(crate) fn stdout(now: Now) -> std::io::Result<Self> {
        Ok(Self::new(File::from(std::io::stdout().as_fd().try_clone_to_owned()?), now))
    }

    /// On any file.
    pub(crate) fn new(file: File, now: Now) -> Self {
        let (since, gone) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { file: Mutex::new(file), since, gone, now }
    }

    /// Writes a frame; blocks while the reader is slow.
    pub(crate) fn write(&self, frame: &Frame) {
        let head = match frame.head() {
            Ok(head) => head,
            Err(error) => {
                let message = format!("stream {}: frame left out: {error}", frame.stream);
                return super::report::Report::Log { message }.write();
            }
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.since.store(self.now_ms(), Ordering::Relaxed);
        let mut parts = [IoSlice::new(&head), IoSlice::new(&frame.data)];
        let mut left = &mut parts[..];
        while !left.is_empty() && !self.is_gone() {
            match file.write_vectored(left) {
                Ok(0) => self.gone.store(true, Ordering::Relaxed),
                Ok(n) => IoSlice::advance_slices(&mut left, n),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => self.gone.store(true, Ordering::Relaxed),
            }
            if left.iter().all(|part| part.is_empty()) {
                break;
            }
        }
        self.since.store(0, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from((self.now)().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A write is waiting for the reader: whoever makes no progress now cannot help it.
    pub(crate) fn is_blocked(&self) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != 0 && self.now_ms().saturating_sub(since) > SLOW_MS
    }

    /// The reader has closed its end.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}
