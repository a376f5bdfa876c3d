//! A transcode worker run to its end.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use encoder::transcode::{
    Ladder,
    frame::{Decoder, Frame},
    report::Report,
};
use protocol::mood::Mood;

/// A worker that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// What came of it.
pub(crate) struct Outcome {
    /// It ended well.
    pub success: bool,
    /// Frames of each stream.
    pub frames: BTreeMap<String, Vec<Frame>>,
    /// Everything it said.
    pub reports: Vec<Report>,
}

/// Runs the worker on `input`, given as fast as it is taken.
pub(crate) fn transcode(input: Vec<u8>, args: &[&str]) -> Outcome {
    let mut child = Command::new(env!("CARGO_BIN_EXE_encoder"))
        .arg("transcode")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    let mut stdin = child.stdin.take().expect("stdin");
    let mut stdout = child.stdout.take().expect("stdout");
    let mut stderr = child.stderr.take().expect("stderr");
    // It may end before it has read everything: that is for the tests to judge.
    std::thread::spawn(move || drop(stdin.write_all(&input)));
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).expect("text");
        text
    });
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = done.send(stdout.read_to_end(&mut bytes).map(|_| bytes));
    });
    let Ok(bytes) = ended.recv_timeout(PATIENCE) else { hung(child) };
    let success = child.wait().expect("it ends").success();
    let reports = errors.join().expect("stderr").lines().map(report).collect();
    Outcome { success, frames: by_stream(&bytes.expect("stdout"), &ladder(args)), reports }
}

fn hung(mut child: Child) -> ! {
    let _ = child.kill();
    panic!("the worker has not ended after {PATIENCE:?}")
}

fn report(line: &str) -> Report {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("no report: {line}: {e}"))
}

fn ladder(args: &[&str]) -> Ladder {
    let file = args.iter().skip_while(|a| **a != "--ladder").nth(1);
    file.map_or_else(Ladder::default, |f| Ladder::load(Path::new(f)).expect("a ladder"))
}

fn by_stream(bytes: &[u8], ladder: &Ladder) -> BTreeMap<String, Vec<Frame>> {
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    let mut streams = BTreeMap::<String, Vec<Frame>>::new();
    while let Some(frame) = decoder.next_frame().expect("frames") {
        let name = ladder.streams()[usize::from(frame.stream)].name.clone();
        streams.entry(name).or_default().push(frame);
    }
    decoder.finish().expect("whole frames");
    streams
}

impl Outcome {
    /// A stream's frames, headers included.
    pub(crate) fn stream(&self, name: &str) -> &[Frame] {
        self.frames.get(name).map_or(&[], Vec::as_slice)
    }

    /// The headers of a stream.
    pub(crate) fn headers(&self, name: &str) -> usize {
        self.stream(name).iter().filter(|f| f.header).count()
    }

    /// A stream as a viewer who came at frame number `from` has it: the header before, then all.
    pub(crate) fn save(&self, name: &str, from: usize, directory: &Path) -> PathBuf {
        let file = directory.join(format!("{name}-{from}"));
        let frames = self.stream(name);
        let mut bytes = Vec::new();
        if name.ends_with('p') {
            bytes.extend_from_slice(&flv::file_header(false, true));
        }
        let header = frames[..from].iter().rev().find(|f| f.header);
        for frame in header.into_iter().chain(&frames[from..]) {
            bytes.extend_from_slice(&frame.data);
        }
        std::fs::write(&file, bytes).expect("a file");
        file
    }

    /// What was last said of a rendition: mood, reason, frames, dropped.
    pub(crate) fn last(&self, rendition: &str) -> (Mood, String, u64, u64) {
        self.said(rendition).pop().unwrap_or_else(|| panic!("nothing was said of {rendition}"))
    }

    /// All that was said of a rendition.
    pub(crate) fn said(&self, rendition: &str) -> Vec<(Mood, String, u64, u64)> {
        let of_it = |report: &Report| match report {
            Report::Rendition { name, mood, reason, frames, dropped } if name == rendition => {
                Some((*mood, reason.clone(), *frames, *dropped))
            }
            _ => None,
        };
        self.reports.iter().filter_map(of_it).collect()
    }

    /// Why it ended, in its own words.
    pub(crate) fn error(&self) -> String {
        let words = self.reports.iter().filter_map(|r| match r {
            Report::Error { message } => Some(message.clone()),
            _ => None,
        });
        words.collect::<Vec<_>>().join("; ")
    }
}
