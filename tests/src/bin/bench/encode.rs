//! The light encode of real footage, beside ffmpeg with the same settings.

use std::path::{Path, PathBuf};

use backrow_tests::process::binary;
use backrow_tests::{footage, probe, tool};

use crate::table::{Report, Takes, Target};
use crate::usage;

/// Times the clip is repeated in the file that is encoded: half a minute in all.
const REPEATS: u32 = 6;

/// Real footage of some length, 720p25 with sound.
pub(crate) async fn material(directory: &Path) -> PathBuf {
    let clip = footage::clip("bigbuckbunny.mp4");
    let long = directory.join("footage.mkv");
    if !long.exists() {
        let line =
            format!("-stream_loop {} -i {{}} -map 0:v:0 -map 0:a:0 -c copy {{}}", REPEATS - 1);
        tool::ffmpeg(&line, &[&clip, &long]).await;
    }
    long
}

/// The words of a command line, with `{}` replaced.
pub(crate) fn words(line: &str, paths: &[&Path]) -> Vec<String> {
    let mut paths = paths.iter();
    line.split_whitespace()
        .map(|word| match word.split_once("{}") {
            Some((start, end)) => format!("{start}{}{end}", paths.next().unwrap().display()),
            None => word.to_owned(),
        })
        .collect()
}

/// Encodes as fast as the machine can, taking turns with ffmpeg.
pub(crate) async fn measure(report: &mut Report, runs: usize, directory: &Path) {
    let material = material(directory).await;
    let ours = binary("collector").display().to_string();
    let our_args = words(
        "capture --source=file:{} --pace=unpaced --repeat=once --width=1280 --height=720 \
         --framerate=25 --bitrate=1500k --audio-bitrate=96k --threads=2",
        &[&material],
    );
    let theirs = "ffmpeg".to_owned();
    let their_args = words(
        "-nostdin -hide_banner -v error -y -i {} -map 0:v:0 -map 0:a:0 -vf fps=25,format=yuv420p \
         -c:v libx264 -preset superfast -tune zerolatency -threads 2 -b:v 1500k -maxrate 1500k -bufsize 1500k \
         -g 50 -keyint_min 50 -sc_threshold 0 -c:a aac -b:a 96k -ac 2 -ar 48000 -f flv -",
        &[&material],
    );
    report.command(&ours, &our_args);
    report.command(&theirs, &their_args);
    let mut cost = [Takes::default(), Takes::default()];
    let mut memory = [Takes::default(), Takes::default()];
    let mut rate = [Takes::default(), Takes::default()];
    for run in 0..runs {
        for turn in 0..2 {
            // A B, B A, A B: neither is always the one that comes after the other.
            let who = (run + turn) % 2;
            let (program, args) = [(&ours, &our_args), (&theirs, &their_args)][who];
            let output = directory.join("encoded.flv");
            let used = usage::run(program, args, None, &output).await;
            let packets = probe::packets(&output).await;
            let seconds = probe::span(&packets, "video");
            cost[who].0.push(used.processor / seconds);
            memory[who].0.push(used.memory as f64 / 1e6);
            rate[who].0.push(kilobits(&packets, "video") / seconds);
        }
    }
    let ratio = ratio(&cost);
    let [our_cost, their_cost] = cost;
    let [our_memory, their_memory] = memory;
    let [our_rate, their_rate] = rate;
    report.row("light encode, ours", "CPU-s per stream-s", our_cost, Target::None);
    report.row("light encode, ffmpeg", "CPU-s per stream-s", their_cost, Target::None);
    report.row("light encode, ours ÷ ffmpeg", "ratio", ratio, Target::AtMost(1.05));
    report.row("light encode, our worker's peak", "MB", our_memory, Target::None);
    report.row("light encode, ffmpeg's peak", "MB", their_memory, Target::None);
    report.row("video rate, ours", "kbit/s", our_rate, Target::None);
    report.row("video rate, ffmpeg", "kbit/s", their_rate, Target::None);
}

/// The ratio of each pair of runs, which were made next to each other.
pub(crate) fn ratio([ours, theirs]: &[Takes; 2]) -> Takes {
    let pairs = ours.0.iter().zip(&theirs.0);
    Takes(pairs.map(|(ours, theirs)| ours / theirs).collect())
}

fn kilobits(packets: &[probe::Packet], kind: &str) -> f64 {
    let bytes: u64 = probe::of_kind(packets, kind).iter().map(|packet| packet.size).sum();
    bytes as f64 * 8.0 / 1000.0
}
