//! The transcode worker beside one ffmpeg process that makes the same renditions.

use std::path::Path;

use backrow_tests::process::binary;
use backrow_tests::{probe, tool};
use encoder::transcode::frame::Decoder;

use crate::encode::{material, ratio, words};
use crate::table::{Report, Takes, Target};
use crate::usage;

/// The default renditions.
const LADDER: &str = "[[ladder]]\nname = \"480p\"\nheight = 480\nbitrate = \"700k\"\n\
                      [[ladder]]\nname = \"240p\"\nheight = 240\nbitrate = \"250k\"\n\
                      [webm]\nhigh = \"800k\"\nlow = \"300k\"\n";

/// One ffmpeg that makes the same: decoded once, scaled in steps, each stream encoded once with
/// the worker's settings, and the sound shared by all that carry it.
const FFMPEG: &str = "-nostdin -hide_banner -v error -y -threads 1 -i input.flv -filter_threads 1 -filter_complex_threads 1 \
    -filter_complex \
    [0:v]split=3[v720][a][b];[a]scale=-2:480:flags=fast_bilinear,split[v480][c];\
    [c]scale=-2:360:flags=fast_bilinear,split[v360][d];[d]scale=-2:240:flags=fast_bilinear[v240];\
    [b]fps=1/5,scale=320:-2[small] \
    -map [v480] -map [v240] -map [v720] -map [v360] -map 0:a -map 0:a -map [small] \
    -c:v:0 libx264 -c:v:1 libx264 -preset:v:0 veryfast -preset:v:1 veryfast \
    -tune:v:0 zerolatency -tune:v:1 zerolatency \
    -x264-params threads=1:scenecut=0:keyint=50:min-keyint=50 \
    -b:v:0 700k -maxrate:v:0 700k -bufsize:v:0 1050k -b:v:1 250k -maxrate:v:1 250k -bufsize:v:1 375k \
    -c:v:2 libvpx -c:v:3 libvpx -deadline realtime -cpu-used -10 -threads:v:2 1 -threads:v:3 1 \
    -lag-in-frames 0 -auto-alt-ref 0 -g 50 -max-intra-rate 450 \
    -b:v:2 800k -minrate:v:2 800k -maxrate:v:2 800k -bufsize:v:2 800k \
    -b:v:3 300k -minrate:v:3 300k -maxrate:v:3 300k -bufsize:v:3 300k \
    -c:v:4 mjpeg -c:a:0 libopus -b:a:0 96k -c:a:1 libmp3lame -b:a:1 96k -compression_level:a:1 9 \
    -flags +global_header -f tee \
    [select=\\'v:0\\':f=flv]480p.flv|[select=\\'v:1\\':f=flv]240p.flv|\
    [select=\\'v:2,a:0\\':f=webm]high.webm|[select=\\'v:3,a:0\\':f=webm]low.webm|\
    [select=\\'a:0\\':f=ogg]audio.ogg|[select=\\'a:1\\':f=mp3]audio.mp3|\
    [select=\\'v:4\\':f=image2:update=1]preview.jpg";

/// Pictures of the first rung in the worker's output: a worker that leaves some out is cheap.
fn pictures_made(frames: &Path) -> usize {
    let mut decoder = Decoder::new();
    decoder.push(&std::fs::read(frames).unwrap());
    let frames = std::iter::from_fn(|| decoder.next_frame().unwrap());
    frames.filter(|frame| frame.stream == 0 && !frame.header).count()
}

/// Transcodes as fast as the machine can, taking turns with ffmpeg.
pub(crate) async fn measure(report: &mut Report, runs: usize, directory: &Path) {
    let material = material(directory).await;
    let input = directory.join("input.flv");
    let line = "-i {} -map 0:v:0 -map 0:a:0 -c:v libx264 -preset superfast -tune zerolatency -b:v 1500k \
                -pix_fmt yuv420p -r 25 -g 50 -keyint_min 50 -sc_threshold 0 -c:a aac -b:a 96k -ac 2 -ar 48000 {}";
    tool::ffmpeg(line, &[&material, &input]).await;
    let packets = probe::packets(&input).await;
    let seconds = probe::span(&packets, "video");
    let pictures = probe::of_kind(&packets, "video").len();
    let ladder = directory.join("ladder.toml");
    std::fs::write(&ladder, LADDER).unwrap();

    let ours = binary("encoder").display().to_string();
    let our_args = words("transcode --ladder {}", &[&ladder]);
    let theirs = "ffmpeg".to_owned();
    let their_args = words(FFMPEG, &[]);
    report.command(&ours, &our_args);
    report.command(&theirs, &their_args);
    let out = |name: &str| directory.join(name);
    let mut cost = [Takes::default(), Takes::default()];
    let mut memory = [Takes::default(), Takes::default()];
    for run in 0..runs {
        for turn in 0..2 {
            let who = (run + turn) % 2;
            let used = if who == 0 {
                let used = usage::run(&ours, &our_args, Some(&input), &out("frames")).await;
                assert_eq!(pictures_made(&out("frames")), pictures, "pictures were left out");
                used
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
