//! What machine the figures are from.

use backrow_tests::tool;

/// A paragraph of facts.
pub(crate) async fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let meminfo = read("/proc/meminfo");
    let memory = meminfo.lines().next().unwrap_or_default();
    let memory = memory.split_once(':').map_or("", |(_, size)| size.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<_> = load.split(' ').take(3).collect();
    let first_line = |output: Vec<u8>| {
        let text = String::from_utf8_lossy(&output).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let ffmpeg = first_line(tool::run("ffmpeg", &["-version"]).await);
    let ffmpeg = ffmpeg.split(" Copyright").next().unwrap_or_default();
    let gstreamer = first_line(tool::run("gst-launch-1.0", &["--version"]).await);
    format!(
        "{cores} × {model}, {memory}, Linux {}, {ffmpeg}, {gstreamer}, load at the end {}.",
        kernel.trim(),
        load.join(" ")
    )
}
