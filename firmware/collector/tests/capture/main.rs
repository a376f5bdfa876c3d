//! The capture worker as the daemon runs it: the real program, its FLV on stdout, its lines on
//! stderr. What it makes is looked at with ffmpeg and ffprobe.

mod faults;
mod files;
mod harness;
mod mixers;
mod synthetic;
