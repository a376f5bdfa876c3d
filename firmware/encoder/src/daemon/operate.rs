//! `encoder check`, `encoder drain`, `encoder register`: what an operator asks of the configuration,
//! and of the encoder that runs here.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use protocol::config::{Encoder, Span};
use protocol::register::Report;
use reqwest::{Client, Response, StatusCode};

use crate::control::STOPPED;
use crate::register::show;

/// `EX_UNAVAILABLE` of sysexits.h: no encoder runs here.
const EXIT_UNAVAILABLE: u8 = 69;
/// `EX_CONFIG`.
const EXIT_CONFIG: u8 = 78;

/// `encoder drain`: what may be said.
#[derive(Debug, Clone, clap::Args)]
pub struct DrainArgs {
    /// How long viewers may stay, such as 5m; 0s: not at all [default: `[drain] limit`]
    #[arg(long, value_name = "TIME", value_parser = span)]
    limit: Option<Duration>,
}

/// `encoder register`: what may be said.
#[derive(Debug, Clone, clap::Args)]
pub struct RegisterArgs {
    /// Show what would be sent now, and send nothing
    #[arg(long)]
    dry_run: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse().map(|Span(span)| span).map_err(|error| error.to_string())
}

/// How it went.
enum Trouble {
    /// Nobody answers at the socket.
    Nobody(reqwest::Error),
    /// Something else, in words.
    Other(String),
}

/// Looks through the configuration as the daemon does before all else.
#[must_use]
pub fn check(file: &Path) -> ExitCode {
    match protocol::config::encoder::read(file) {
        Ok(config) => {
            let rooms: Vec<_> = config.rooms.iter().map(|room| room.name.to_string()).collect();
            print(&format!("{} is right: {}\n", file.display(), rooms.join(", ")));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Tells the encoder that runs here to stop, and waits until it has.
#[must_use]
pub fn drain(config: &Path, args: &DrainArgs) -> ExitCode {
    let limit = args.limit.map(|limit| format!("?limit={}ms", limit.as_millis()));
    let path = format!("/drain{}", limit.unwrap_or_default());
    operate(config, async |config, client| {
        let mut answer = asked(client.post(format!("http://encoder{path}"))).await?;
        let mut said = String::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            let text = String::from_utf8_lossy(&chunk);
            print(&text);
            said.push_str(&text);
        }
        if said.lines().any(|line| line.starts_with(STOPPED)) {
            return Ok(());
        }
        let socket = config.control.display();
        Err(Trouble::Other(format!(
            "the encoder at {socket} ended before it had stopped in good order: see its journal"
        )))
    })
}

/// Says how each website takes this encoder, or what it would be sent.
#[must_use]
pub fn register(config: &Path, args: &RegisterArgs) -> ExitCode {
    operate(config, async |config, client| {
        if config.register.is_empty() {
            let hint = "there is no [[register]] in the configuration: no website is told";
            return Err(Trouble::Other(hint.to_owned()));
        }
        let path = if args.dry_run { "/register/requests" } else { "/register" };
        match asked(client.get(format!("http://encoder{path}"))).await {
            Ok(answer) => {
                let text = answer.text().await;
                let text =
                    text.map_err(|error| Trouble::Other(format!("its answer broke off: {error}")))?;
                print(&text);
                Ok(())
            }
            Err(Trouble::Nobody(_)) if args.dry_run => {
                print("# No encoder runs here: all numbers are 0.\n");
                print(&show::requests(&config.register, &config.rooms, |_| Report::default()));
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    })
}

/// Runs something that has to do with the encoder of a configuration, and turns its end into an
/// exit status.
fn operate(
    file: &Path,
    work: impl AsyncFnOnce(&Encoder, &Client) -> Result<(), Trouble>,
) -> ExitCode {
    let config = match protocol::config::encoder::read(file) {
        Ok(config) => config,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().unix_socket(config.control.as_path()).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (client, runtime) = match (client, runtime) {
        (Ok(client), Ok(runtime)) => (client, runtime),
        (Err(error), _) => return failed(&error.to_string()),
        (_, Err(error)) => return failed(&error.to_string()),
    };
    match runtime.block_on(work(&config, &client)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Other(words)) => failed(&words),
        Err(Trouble::Nobody(error)) => {
            let socket = config.control.display();
            complain(&format!("no encoder answers at {socket} (`control`): {error:?}"));
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

async fn asked(request: reqwest::RequestBuilder) -> Result<Response, Trouble> {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Err(Trouble::Nobody(error)),
        Err(error) => return Err(Trouble::Other(format!("the encoder broke off: {error}"))),
    };
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let status = answer.status();
    let words = answer.text().await.unwrap_or_default();
    Err(Trouble::Other(format!("the encoder answers {status}: {}", words.trim())))
}

fn failed(words: &str) -> ExitCode {
    complain(words);
    ExitCode::FAILURE
}

// Whoever closed the other end does not want it.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
