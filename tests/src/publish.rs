//! Publishers that are not ours: ffmpeg and GStreamer, with a test picture.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::encoder::EncoderProcess;
use crate::process::{Launch, Process};

/// A foreign publisher at work.
#[derive(Debug)]
pub struct Publisher {
    process: Process,
    _directory: TempDir,
}

impl Publisher {
    /// ffmpeg publishes a test picture and a tone to `url` in real time.
    pub fn ffmpeg(url: &str) -> Self {
        let line = "-nostdin -hide_banner -v warning -re \
             -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440:sample_rate=44100 \
             -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 50 -sc_threshold 0 -b:v 300k \
             -c:a aac -b:a 64k -f flv";
        let args = line.split_whitespace().chain([url]);
        Self::run("ffmpeg", Launch::new("ffmpeg").args(args))
    }

    /// GStreamer publishes a test picture and a tone to `url` through `sink`, which is
    /// `rtmp2sink` or `rtmpsink` (librtmp).
    pub fn gstreamer(sink: &str, url: &str) -> Self {
        let location = format!("location={url}");
        let line = "-q flvmux name=mux streamable=true ! SINK LOCATION \
             videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 ! \
             x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 bitrate=300 ! h264parse ! mux. \
             audiotestsrc is-live=true ! audio/x-raw,rate=44100,channels=2 ! voaacenc ! aacparse ! mux.";
        let args = line.split_whitespace().map(|word| match word {
            "SINK" => sink,
            "LOCATION" => location.as_str(),
            _ => word,
        });
        Self::run(sink, Launch::new("gst-launch-1.0").args(args))
    }

    /// ffmpeg publishes noise to `url` at some 8 Mbit/s: what fills the buffers of clients that
    /// do not read.
    pub fn heavy(url: &str) -> Self {
        let line = "-nostdin -hide_banner -v warning -re \
             -f lavfi -i testsrc2=size=640x360:rate=25,noise=alls=60:allf=t -f lavfi -i anullsrc \
             -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 -sc_threshold 0 -b:v 8M \
             -c:a aac -b:a 64k -f flv";
        let args = line.split_whitespace().chain([url]);
        Self::run("ffmpeg", Launch::new("ffmpeg").args(args))
    }

    /// What voctomix is to a collector: raw pictures and sound in Matroska, to whoever connects
    /// to `address`, once.
    pub fn mixer(address: SocketAddr) -> Self {
        let url = format!("tcp://{address}?listen=1");
        let line = "-nostdin -hide_banner -v warning -re \
             -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 \
             -c:v rawvideo -pix_fmt yuv420p -c:a pcm_s16le -ac 2 -f matroska";
        let args = line.split_whitespace().chain([url.as_str()]);
        Self::run("mixer", Launch::new("ffmpeg").args(args))
    }

    fn run(name: &str, launch: Launch) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start(name, launch, &directory.path().join("log"));
        Self { process, _directory: directory }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The RTMP URL of a room of `encoder`, with `token` as the stream key's secret part.
pub fn rtmp_url(encoder: &EncoderProcess, room: &str, token: &str) -> String {
    format!("rtmp://{}/{room}/{token}", encoder.rtmp())
}

/// Makes a short FLV file of a test picture and a tone at `path`.
///
/// # Panics
/// When ffmpeg fails.
pub async fn flv_file(path: &Path, seconds: u32) {
    let line = format!(
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration={seconds} \
         -f lavfi -i sine=frequency=440:sample_rate=44100:duration={seconds} \
         -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 50 -sc_threshold 0 \
         -b:v 300k -c:a aac -b:a 64k -flvflags no_duration_filesize -f flv {{}}"
    );
    crate::tool::ffmpeg(&line, &[path]).await;
}
