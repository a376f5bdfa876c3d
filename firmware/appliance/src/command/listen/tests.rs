//! Commands from the wire to their answers, with scripts for `systemctl` and `rauc`.

use std::{fs, os::unix::fs::PermissionsExt};

use watchdog::{board::Board, clock};

use super::*;
use crate::{kept, paths::Paths, programs::Programs, update::install::Installer};

const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    dir: tempfile::TempDir,
    desk: Desk,
    incoming: mpsc::Sender<Incoming>,
    answers: mpsc::Receiver<Ack>,
    cancel: CancellationToken,
}

fn rig_in(dir: tempfile::TempDir, boot: &str) -> Rig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let paths = Paths::under(dir.path());
    let script = dir.path().join("systemctl");
    let text = format!("#!/bin/sh\necho \"$@\" >> {}\n", dir.path().join("called").display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let programs = Programs { rauc: vec!["false".into()], systemctl: script.into() };
    let clock = clock::system();
    let installer = Installer { paths, programs, clock: clock.clone(), ca: None };
    let desk = Desk::new(installer, Board::new(clock.clone()));
    let (incoming, heard) = mpsc::channel(16);
    let (answer, answers) = mpsc::channel(16);
    let cancel = CancellationToken::new();
    let (desk_too, boot) = (desk.clone(), boot.to_owned());
    let good = watch::channel(true).1;
    let listener = Listener { desk: desk_too, clock, boot, answers: answer, good };
    tokio::spawn(listener.run(heard, cancel.clone()));
    Rig { dir, desk, incoming, answers, cancel }
}

impl Rig {
    fn new() -> Self {
        rig_in(tempfile::tempdir().unwrap(), "boot-1")
    }

    async fn say(&self, rest: &str, id: u8, retained: bool) {
        let text = format!(r#"{{"v":1,"id":"01JF00000000000000000000{id:02}",{rest}}}"#);
        self.incoming.send(Incoming { payload: text.into(), retained }).await.unwrap();
    }

    async fn heard(&mut self) -> (AckState, String) {
        let ack = tokio::time::timeout(PATIENCE, self.answers.recv()).await.unwrap().unwrap();
        (ack.state, ack.message)
    }

    fn called(&self) -> String {
        fs::read_to_string(self.dir.path().join("called")).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_command_is_accepted_then_done_and_the_same_again_only_answered() {
    let mut rig = Rig::new();
    kept::write(&rig.desk.paths.site(), b"", 0o600).unwrap();
    rig.say(r#""command":"restart""#, 1, false).await;
    assert_eq!(rig.heard().await.0, AckState::Accepted);
    let done = (AckState::Done, "the collector was started anew".to_owned());
    assert_eq!(rig.heard().await, done);
    rig.say(r#""command":"restart""#, 1, true).await;
    assert_eq!(rig.heard().await, done);
    assert_eq!(rig.called(), "restart backrow-collector.service\n");

    let shown = rig.desk.identify.watch();
    rig.say(r#""command":"identify","seconds":3600"#, 2, false).await;
    rig.heard().await;
    assert_eq!(rig.heard().await, (AckState::Done, "the box shows itself for 3600 s".to_owned()));
    assert!(*shown.borrow());
}

#[tokio::test]
async fn a_reboot_is_answered_after_it_and_not_done_again() {
    let mut rig = Rig::new();
    rig.say(r#""command":"reboot""#, 1, true).await;
    assert_eq!(rig.heard().await.0, AckState::Accepted);
    assert_eq!(rig.heard().await, (AckState::Accepted, "the box restarts".to_owned()));
    rig.cancel.cancel();
    let mut rig = rig_in(rig.dir, "boot-2");
    assert_eq!(rig.heard().await, (AckState::Done, "the box was restarted".to_owned()));
    rig.say(r#""command":"reboot""#, 1, true).await;
    assert_eq!(rig.heard().await, (AckState::Done, "the box was restarted".to_owned()));
    assert_eq!(rig.called(), "--no-block reboot\n");
}

#[tokio::test]
async fn what_is_not_understood_or_not_possible_is_refused() {
    let mut rig = Rig::new();
    rig.say(r#""command":"dance""#, 1, false).await;
    let (state, why) = rig.heard().await;
    assert_eq!(state, AckState::Refused);
    assert!(why.starts_with("command: \"dance\" is not known"), "{why}");
    rig.say(r#""command":"restart""#, 2, false).await;
    rig.heard().await;
    assert_eq!(rig.heard().await.0, AckState::Refused, "there is no site");
    rig.say(r#""command":"update","url":"https://localhost/x.raucb""#, 3, false).await;
    rig.heard().await;
    let (state, why) = rig.heard().await;
    assert_eq!(state, AckState::Refused);
    assert!(why.contains("does not run from one of the box's own slots"), "{why}");
    assert!(rig.desk.board.get(crate::update::health::COMPONENT).is_none(), "nothing changed");
    assert_eq!(rig.called(), "");
}

#[tokio::test]
async fn a_reset_is_noted_and_the_box_restarts() {
    let mut rig = Rig::new();
    rig.say(r#""command":"factory-reset","recordings":true"#, 1, false).await;
    rig.heard().await;
    let (state, answer) = rig.heard().await;
    assert_eq!(state, AckState::Accepted);
    assert!(answer.contains("there are no recordings"), "{answer}");
    assert_eq!(rig.called(), "--no-block reboot\n");
    rig.cancel.cancel();
    let paths = rig.desk.paths.clone();
    crate::recovery::reset::carry_out(&paths).unwrap().unwrap();
    let mut rig = rig_in(rig.dir, "boot-2");
    assert_eq!(rig.heard().await, (AckState::Done, "the box was reset".to_owned()));
}

#[tokio::test]
async fn diagnostics_are_sent_where_the_command_says() {
    use axum::{Router, body::Bytes, extract::DefaultBodyLimit, http::StatusCode, routing::put};

    let mut rig = Rig::new();
    let (got, mut taken) = mpsc::channel::<Bytes>(1);
    // This machine's journal may be long. All of a body is taken before the answer: a connection
    // that closes on the rest of one may take the answer with it.
    let app = Router::new()
        .route(
            "/d",
            put(move |body: Bytes| async move {
                got.send(body).await.unwrap();
            }),
        )
        .fallback(|_: Bytes| async { StatusCode::NOT_FOUND })
        .layer(DefaultBodyLimit::disable());
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(server, app).await });
    rig.say(&format!(r#""command":"diagnostics","url":"{url}/d?key=1""#), 1, false).await;
    rig.heard().await;
    let done = (AckState::Done, format!("the diagnostics are at {url}/d"));
    assert_eq!(rig.heard().await, done);
    let bundle = tokio::time::timeout(PATIENCE, taken.recv()).await.unwrap().unwrap();
    assert!(bundle.starts_with(&[0x1f, 0x8b]), "gzip");
    rig.say(&format!(r#""command":"diagnostics","url":"{url}/none?key=1""#), 2, false).await;
    rig.heard().await;
    let (state, why) = rig.heard().await;
    assert_eq!((state, why), (AckState::Failed, format!("{url}/none answered 404 Not Found")));
    assert!(!rig.desk.paths.run().join("diagnostics.tar.gz").exists());
}
