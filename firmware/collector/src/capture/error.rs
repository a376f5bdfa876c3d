//! Everything that can end a capture, each as one plain sentence with what to do about it.
//!
//! The sentence is the reason an operator sees beside the component's mood, so it names the
//! device, file or address and never a GStreamer element.

use std::path::PathBuf;

/// Why a capture ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// There is no such node.
    #[error("There is no video device at {}: plug it in, or see `collector devices` for what is there.", path.display())]
    NoSuchDevice {
        /// The path asked for.
        path: PathBuf,
    },
    /// The node exists and is something else.
    #[error("{} is not a video capture device: see `collector devices` for those that are.", path.display())]
    NotCapture {
        /// The path asked for.
        path: PathBuf,
    },
    /// Another program holds the device.
    #[error(
        "{device} is in use by another program: close that program (`fuser -v {device}` names it)."
    )]
    Busy {
        /// The device.
        device: String,
    },
    /// We may not open the device or file.
    #[error(
        "{what} may not be read by this user: give it read access (for devices, the groups `video` and `audio`)."
    )]
    NotAllowed {
        /// The device or file.
        what: String,
    },
    /// The device was there and has been unplugged.
    #[error("{device} has gone while it was being read: check its cable and power.")]
    Gone {
        /// The device.
        device: String,
    },
    /// The device is there and sends nothing.
    #[error(
        "{device} has sent no picture for {seconds} s: check that what is plugged into it is on and sends a signal."
    )]
    NoSignal {
        /// The device.
        device: String,
        /// How long, in seconds.
        seconds: u64,
    },
    /// No format of the device can be used.
    #[error("{device} offers no video format that can be used ({offered}): use another device.")]
    NoFormat {
        /// The device.
        device: String,
        /// What it offers.
        offered: String,
    },
    /// No FireWire DV device.
    #[error("There is no FireWire video device{}: check its cable and power, and see `collector devices`.", guid.map(|guid| format!(" with GUID 0x{guid:016x}")).unwrap_or_default())]
    NoDv {
        /// The GUID asked for.
        guid: Option<u64>,
    },
    /// The sound card does not exist.
    #[error(
        "There is no sound device {device}: see `collector devices`, or set the sound device to `auto` or `none`."
    )]
    NoSound {
        /// ALSA name.
        device: String,
    },
    /// There is no such file.
    #[error("There is no file {}: check the name.", path.display())]
    NoFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The file is not media, or is damaged.
    #[error("{} cannot be played ({reason}): check it with `ffprobe`, or use another file.", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// The file is media, with nothing to see or hear.
    #[error("{} has neither picture nor sound: use another file.", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The mixer does not answer.
    #[error(
        "The mixer at {address} cannot be reached ({reason}): check the address, and that the mixer runs."
    )]
    MixerUnreachable {
        /// `host:port`.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The mixer ended the connection.
    #[error("The mixer at {address} has closed the connection: check that the mixer still runs.")]
    MixerClosed {
        /// `host:port`.
        address: String,
    },
    /// The mixer keeps the connection and sends nothing.
    #[error(
        "The mixer at {address} has sent nothing for {seconds} s: check that the mixer has a picture and its network is well."
    )]
    MixerSilent {
        /// `host:port`.
        address: String,
        /// How long, in seconds.
        seconds: u64,
    },
    /// The mixer sends something else.
    #[error(
        "What the mixer at {address} sends is not {expected} ({reason}): check the `format` of the source."
    )]
    MixerFormat {
        /// `host:port`.
        address: String,
        /// The format asked for.
        expected: String,
        /// What was seen.
        reason: String,
    },
    /// An element of GStreamer is not installed.
    #[error(
        "GStreamer's element `{element}` is missing: install the GStreamer plugins (base, good, bad, ugly, libav, x and alsa)."
    )]
    MissingElement {
        /// The element.
        element: String,
    },
    /// Anything else in the pipeline.
    #[error("Capturing from {what} failed: {reason}.")]
    Pipeline {
        /// The source.
        what: String,
        /// What GStreamer said.
        reason: String,
    },
    /// stdout takes no more.
    #[error("The stream cannot be written: {reason}.")]
    Output {
        /// What the system said.
        reason: String,
    },
    /// Whoever read stdout has gone: a normal end.
    #[error("The reader of the stream has gone.")]
    ReaderGone,
}

impl CaptureError {
    /// A stable name for the fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchDevice { .. } => "no_such_device",
            Self::NotCapture { .. } => "not_a_capture_device",
            Self::Busy { .. } => "device_busy",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Gone { .. } => "device_gone",
            Self::NoSignal { .. } => "no_signal",
            Self::NoFormat { .. } => "no_format",
            Self::NoDv { .. } => "no_dv_device",
            Self::NoSound { .. } => "no_sound_device",
            Self::NoFile { .. } => "no_such_file",
            Self::Unreadable { .. } => "unreadable_file",
            Self::Empty { .. } => "empty_file",
            Self::MixerUnreachable { .. } => "mixer_unreachable",
            Self::MixerClosed { .. } => "mixer_closed",
            Self::MixerSilent { .. } => "mixer_silent",
            Self::MixerFormat { .. } => "mixer_format",
            Self::MissingElement { .. } => "missing_element",
            Self::Pipeline { .. } => "pipeline",
            Self::Output { .. } => "output",
            Self::ReaderGone => "reader_gone",
        }
    }

    /// Whether the input is at fault and not the worker: the component is then *hungry*.
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Self::MissingElement { .. }
                | Self::Pipeline { .. }
                | Self::Output { .. }
                | Self::ReaderGone
        )
    }
}
