//! The transcode worker beside one ffmpeg process that makes the same renditions.

use std::path::Path;

use backrow_tests::process::binary;
use backrow_tests::{probe, tool};

use crate::encode::{material, ratio, words};
use crate::table::{Report, Takes, Target};
use crate::usage;

/// The default renditions.
const LADDER: &str = "[[ladder]]\nname = \"480p\"\nheight = 480\nbitrate = \"700k\"\n\
                      [[ladder]]\nname = \"240p\"\nheight = 240\nbitrate = \"250k\"\n\
                      [webm]\nhigh = \"800k\"\nlow = \"300k\"\n";

/// Transcodes as fast as the machine can, taking turns with ffmpeg.
pub(crate) async fn measure(report: &mut Report, runs: usize, directory: &Path) {
    let material = material(directory).await;
    let input = directory.join("input.flv");
    let line = "-i {} -map 0:v:0 -map 0:a:0 -c:v libx264 -preset superfast -tune zerolatency -b:v 1500k \
                -pix_fmt yuv420p -r 25 -g 50 -keyint_min 50 -sc_threshold 0 -c:a aac -b:a 96k -ac 2 -ar 48000 {}";
    tool::ffmpeg(line, &[&material, &input]).await;
    let seconds = probe::span(&probe::packets(&input).await, "video");
    let ladder = directory.join("ladder.toml");
    std::fs::write(&ladder, LADDER).unwrap();

    let ours = binary("encoder").display().to_string();
    let our_args = words("transcode --ladder {}", &[&ladder]);
    let theirs = "ffmpeg".to_owned();
    let out = |name: &str| directory.join(name);
    let x264 = "-c:v libx264 -preset veryfast -tune zerolatency -threads 1 -g 50 -keyint_min 50 -sc_threshold 0 -an";
    let vp8 =
        "-c:v libvpx -deadline realtime -cpu-used 8 -threads 1 -g 50 -lag-in-frames 0 -c:a libopus";
    let their_args = words(
        &format!(
            "-nostdin -hide_banner -v error -y -i {{}} -filter_complex \
             [0:v]split=5[a][b][c][d][e];[a]scale=-2:480[v480];[b]scale=-2:240[v240];[d]scale=-2:360[v360];\
             [e]fps=1/5,scale=320:-2[small] \
             -map [v480] {x264} -b:v 700k -maxrate 700k -bufsize 700k {{}} \
             -map [v240] {x264} -b:v 250k -maxrate 250k -bufsize 250k {{}} \
             -map [c] -map 0:a {vp8} -b:v 800k -b:a 96k {{}} \
             -map [v360] -map 0:a {vp8} -b:v 300k -b:a 64k {{}} \
             -map 0:a -c:a libopus -b:a 96k {{}} -map 0:a -c:a libmp3lame -b:a 128k {{}} \
             -map [small] -c:v mjpeg -f image2 -update 1 {{}}"
        ),
        &[
            &input,
            &out("480.flv"),
            &out("240.flv"),
            &out("high.webm"),
            &out("low.webm"),
            &out("audio.ogg"),
            &out("audio.mp3"),
            &out("preview.jpg"),
        ],
    );
    report.command(&ours, &our_args);
    report.command(&theirs, &their_args);
    let mut cost = [Takes::default(), Takes::default()];
    let mut memory = [Takes::default(), Takes::default()];
    for run in 0..runs {
        for turn in 0..2 {
            let who = (run + turn) % 2;
            let used = if who == 0 {
                usage::run(&ours, &our_args, Some(&input), &out("frames")).await
            } else {
                usage::run(&theirs, &their_args, None, &out("nothing")).await
            };
            cost[who].0.push(used.processor / seconds);
            memory[who].0.push(used.memory as f64 / 1e6);
        }
    }
    let ratio = ratio(&cost);
    let [our_cost, their_cost] = cost;
    let [our_memory, their_memory] = memory;
    report.row("transcode, ours", "CPU-s per stream-s", our_cost, Target::None);
    report.row("transcode, ffmpeg", "CPU-s per stream-s", their_cost, Target::None);
    report.row("transcode, ours ÷ ffmpeg", "ratio", ratio, Target::AtMost(1.05));
    report.row("transcode, our worker's peak", "MB", our_memory, Target::None);
    report.row("transcode, ffmpeg's peak", "MB", their_memory, Target::None);
}
