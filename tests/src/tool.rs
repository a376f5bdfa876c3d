//! Runs a media tool to its end.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// No tool of ours works on more than some seconds of media.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs `program`, and returns what it put out, whether it succeeded or not.
///
/// # Panics
/// When it cannot be started or takes for ever.
pub async fn output<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S]) -> Output {
    output_within(DEADLINE, program, args).await
}

/// Runs `program`, which may take so long, and returns what it put out, whether it succeeded or not.
///
/// # Panics
/// When it cannot be started or takes longer.
pub async fn output_within<S: AsRef<OsStr>>(
    deadline: Duration,
    program: impl AsRef<OsStr>,
    args: &[S],
) -> Output {
    let program = program.as_ref();
    let child = Command::new(program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    match timeout(deadline, child).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => panic!("{program:?} could not be started: {error}"),
        Err(_) => panic!("{program:?} took more than {deadline:?}"),
    }
}

/// Runs `program`, and returns its standard output.
///
/// # Panics
/// When it fails; the message has what it said.
pub async fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Vec<u8> {
    let output = output(program, args).await;
    assert!(
        output.status.success(),
        "{program} {:?} failed ({}):\n{}",
        args.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs ffmpeg quietly with `line` split at spaces, and then `paths` in place of `{}`.
///
/// # Panics
/// When it fails.
pub async fn ffmpeg(line: &str, paths: &[&std::path::Path]) -> Vec<u8> {
    let mut paths = paths.iter();
    let mut args: Vec<String> =
        "-nostdin -hide_banner -v error -y".split(' ').map(Into::into).collect();
    args.extend(line.split_whitespace().map(|word| match word {
        "{}" => paths.next().expect("a path for {}").display().to_string(),
        _ => word.to_owned(),
    }));
    run("ffmpeg", &args).await
}
