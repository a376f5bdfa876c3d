//! Runs the worker, and takes apart what it writes.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use collector::capture::report::{Health, Line};
use flv::{Parser, Tag, TagKind};

/// A worker that has not done its work after this is stuck.
const DEADLINE: Duration = Duration::from_secs(90);

/// What a worker wrote.
pub(crate) struct Recording {
    /// FLV, as it came.
    pub(crate) flv: Vec<u8>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) lines: Vec<Line>,
}

/// A small picture, so that the tests are light.
pub(crate) const SMALL: [&str; 4] =
    ["--width=640", "--height=360", "--bitrate=1000k", "--room=demo"];

fn spawn(args: &[&str]) -> (Child, mpsc::Receiver<Line>, mpsc::Sender<()>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_collector"))
        .arg("capture")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the worker starts");
    let stderr = child.stderr.take().expect("a pipe");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).expect("each line of stderr is a report");
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    // A stuck worker is killed, so that reading from it ends and the test fails rather than hangs.
    let (done, is_done) = mpsc::channel::<()>();
    let pid = rustix::process::Pid::from_child(&child);
    std::thread::spawn(move || {
        if is_done.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    (child, lines, done)
}

/// Runs a worker until its picture has reached `until_ms`, or it ends.
pub(crate) fn record(args: &[&str], until_ms: u32) -> Recording {
    let (mut child, lines, done) = spawn(args);
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut parser = Parser::new(flv::Limits::default());
    let (mut flv, mut tags) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 65536];
    'reading: loop {
        let read = stdout.read(&mut buffer).expect("a readable pipe");
        if read == 0 {
            break;
        }
        parser.push(&buffer[..read]);
        flv.extend_from_slice(&buffer[..read]);
        while let Some(tag) = parser.next_tag().expect("sound FLV") {
            let is_enough = tag.kind == TagKind::Video && tag.timestamp >= until_ms;
            tags.push(tag);
            if is_enough {
                break 'reading;
            }
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    drop(done);
    // What was parsed is what is decoded: no torn tag at the end.
    let whole = flv.len().min(parser.position() as usize);
    flv.truncate(whole);
    Recording { flv, tags, lines: lines.iter().collect() }
}

/// Runs a worker to its own end: its exit status and lines. Its stream is thrown away.
pub(crate) fn run(args: &[&str]) -> (ExitStatus, Vec<Line>) {
    let (mut child, lines, done) = spawn(args);
    let mut stdout = child.stdout.take().expect("a pipe");
    std::io::copy(&mut stdout, &mut std::io::sink()).expect("a readable pipe");
    let status = child.wait().expect("an end");
    drop(done);
    (status, lines.iter().collect())
}

/// Runs a worker whose reader goes away after some bytes.
pub(crate) fn abandon(args: &[&str], bytes: usize) -> (ExitStatus, Vec<Line>) {
    let (mut child, lines, done) = spawn(args);
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut vec![0; bytes]).expect("that many bytes");
    drop(stdout);
    let status = child.wait().expect("an end");
    drop(done);
    (status, lines.iter().collect())
}

/// The code and sentence a worker ends with.
pub(crate) fn failure(args: &[&str]) -> (String, String) {
    let (status, lines) = run(args);
    assert_eq!(status.code(), Some(1), "{lines:?}");
    last_error(&lines)
}

pub(crate) fn last_error(lines: &[Line]) -> (String, String) {
    match lines.last() {
        Some(Line::Error { code, message }) => (code.clone(), message.clone()),
        other => unreachable!("the last line is the error, not {other:?}"),
    }
}

impl Recording {
    /// Times of the pictures, in ms.
    pub(crate) fn video_times(&self) -> Vec<u32> {
        self.frames().map(|tag| tag.timestamp).collect()
    }

    /// Times of the key frames, in ms.
    pub(crate) fn keyframe_times(&self) -> Vec<u32> {
        self.frames().filter(|tag| tag.is_keyframe()).map(|tag| tag.timestamp).collect()
    }

    /// Times of the sound, in ms.
    pub(crate) fn audio_times(&self) -> Vec<u32> {
        let sound = |tag: &&Tag| tag.kind == TagKind::Audio && !tag.is_sequence_header();
        self.tags.iter().filter(sound).map(|tag| tag.timestamp).collect()
    }

    fn frames(&self) -> impl Iterator<Item = &Tag> {
        let picture = |tag: &&Tag| tag.kind == TagKind::Video && !tag.is_sequence_header();
        self.tags.iter().filter(picture)
    }

    /// The newest health.
    pub(crate) fn health(&self) -> &Health {
        let health = self.lines.iter().rev().find_map(|line| match line {
            Line::Health(health) => Some(health),
            _ => None,
        });
        health.expect("a health line")
    }

    /// Whether some log line has these words.
    pub(crate) fn logged(&self, words: &str) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(line, Line::Log { message } if message.contains(words)))
    }

    /// Writes the FLV to a file.
    pub(crate) fn save(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, &self.flv).expect("a writable directory");
        path
    }
}

/// Runs a program and gives its stdout; fails with its stderr.
pub(crate) fn tool(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().expect("it is installed");
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// ffmpeg, quietly, over whatever is there.
pub(crate) fn ffmpeg(args: &[&str]) -> Vec<u8> {
    tool("ffmpeg", &[&["-v", "error", "-y"], args].concat())
}

/// The luma planes of a film at this size.
pub(crate) fn pictures(film: &Path, width: usize, height: usize) -> Vec<Vec<u8>> {
    let size = format!("scale={width}:{height}:flags=area,format=gray");
    let film = film.to_str().expect("a plain path");
    let raw = ffmpeg(&["-i", film, "-vf", &size, "-vsync", "passthrough", "-f", "rawvideo", "-"]);
    raw.chunks_exact(width * height).map(<[u8]>::to_vec).collect()
}

/// The sound of a film at 48 kHz: left and right, from time 0 of the film.
pub(crate) fn sound(film: &Path) -> Vec<[i16; 2]> {
    let film = film.to_str().expect("a plain path");
    let fill = "aresample=async=1:first_pts=0";
    let raw =
        ffmpeg(&["-i", film, "-vn", "-af", fill, "-ar", "48000", "-ac", "2", "-f", "s16le", "-"]);
    raw.as_chunks::<4>()
        .0
        .iter()
        .map(|&[a, b, c, d]| [i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])])
        .collect()
}

/// Root mean square of each channel, of 32768.
pub(crate) fn loudness(sound: &[[i16; 2]]) -> [f64; 2] {
    [0, 1].map(|channel| {
        let squares = sound.iter().map(|frame| f64::from(frame[channel]).powi(2)).sum::<f64>();
        (squares / sound.len().max(1) as f64).sqrt()
    })
}

/// Asserts that times go on in steps of 40 ms (25 frames per second).
pub(crate) fn assert_regular(times: &[u32]) {
    for pair in times.windows(2) {
        assert_eq!(pair[1] - pair[0], 40, "a picture is missing or twice at {} ms", pair[0]);
    }
}

/// Asserts that sound goes on without a hole: frames of 1024 samples at 48 kHz, in whole ms.
pub(crate) fn assert_unbroken(times: &[u32]) {
    for pair in times.windows(2) {
        assert!(matches!(pair[1] - pair[0], 21 | 22), "sound has a hole at {} ms", pair[0]);
    }
}
