//! v4l2
use super::{Context, Head};
use crate::capture::error::CaptureError;
use std::path::Path;
pub(super) fn open(_context: &Context<'_>, path: &Path) -> Result<Head, CaptureError> {
    Err(CaptureError::NoSuchDevice { path: path.to_owned() })
}
