//! The measuring tools measure: a known error in a made-up file is found, and its size too.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use backrow_tests::{measure, probe, tool};

/// A white picture for 100 ms at each second, and a beep as long, `lag` seconds later.
async fn flash_and_beep(path: &std::path::Path, lag: f64) {
    let line = format!(
        "-f lavfi -i color=black:size=160x90:rate=50:duration=4,\
         geq=lum='if(lt(mod(T\\,1)\\,0.1)\\,235\\,16)':cb=128:cr=128 \
         -f lavfi -i aevalsrc='if(lt(mod(t+1-{lag}\\,1)\\,0.1)\\,0.5*sin(2*PI*1000*t)\\,0)':s=48000:d=4 \
         -c:v libx264 -preset ultrafast -c:a aac -f mp4 {{}}"
    );
    tool::ffmpeg(&line, &[path]).await;
}

#[tokio::test]
async fn an_offset_between_picture_and_sound_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    for lag in [0.0, 0.2] {
        let file = directory.path().join(format!("{lag}.mp4"));
        flash_and_beep(&file, lag).await;
        let flashes = measure::pictures(&file).await.flashes();
        let beeps = measure::sound(&file).await.beeps();
        let offsets = measure::offsets(&flashes, &beeps);
        assert!(offsets.len() >= 3, "{flashes:?} {beeps:?}");
        for offset in offsets {
            assert!((offset - lag).abs() < 0.03, "{offset} measured for {lag}");
        }
    }
}

#[tokio::test]
async fn a_gap_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gap.mkv");
    let line = "-f lavfi -i testsrc2=size=160x90:rate=25:duration=4 \
                -vf select='not(between(n,40,60))' -fps_mode passthrough -c:v libx264 -bf 0 {}";
    tool::ffmpeg(line, &[&file]).await;
    let packets = probe::packets(&file).await;
    probe::assert_monotonic("wide limit", &packets, 1.0);
    let strict = tokio::spawn(async move { probe::assert_monotonic("strict", &packets, 0.1) });
    let message = strict.await.unwrap_err().into_panic();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("gap of 0.880 s"), "{message}");
}
