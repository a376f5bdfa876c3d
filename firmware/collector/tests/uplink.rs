//! The uplink against an encoder that answers by script: real HTTP on a real socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Json, Router};
use bytes::Bytes;
use collector::uplink::http::{COMPONENT, Destination, Sender};
use collector::uplink::queue::Queue;
use flv::segmenter::SegmentEvent;
use futures_util::StreamExt as _;
use protocol::ingest::{Confirmation, Problem};
use protocol::mood::Mood;
use protocol::names::SessionId;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock;

const DEADLINE: Duration = Duration::from_secs(20);

/// What the encoder does with a segment the first times it is offered; afterwards it takes it.
#[derive(Clone, Copy)]
enum Answer {
    Problem(StatusCode, &'static str),
    WrongDigest,
    /// Reads this many bytes, then drops the connection.
    Cut(usize),
}

#[derive(Default)]
struct Script {
    answers: BTreeMap<u64, Vec<Answer>>,
    /// The first bytes of bodies that are still on their way.
    begun: Vec<(u64, Bytes)>,
    taken: Vec<(u64, Bytes)>,
}

type Shared = Arc<Mutex<Script>>;

async fn take(
    State(script): State<Shared>,
    Path((_, _, file)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    assert_eq!(headers["authorization"], "Bearer correct-horse");
    assert_eq!(headers["backrow-device"], "box-7");
    let seq = protocol::ingest::parse_segment_file(&file).expect("a segment's name");
    let answer = {
        let mut script = script.lock().unwrap();
        script
            .answers
            .get_mut(&seq)
            .and_then(|answers| if answers.is_empty() { None } else { Some(answers.remove(0)) })
    };
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else { return StatusCode::BAD_REQUEST.into_response() };
        if bytes.is_empty() {
            script.lock().unwrap().begun.push((seq, chunk.clone()));
        }
        bytes.extend_from_slice(&chunk);
        if let Some(Answer::Cut(after)) = answer
            && bytes.len() >= after
        {
            // A response body that fails drops the connection in the middle of the exchange.
            let broken =
                futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
            return Response::new(Body::from_stream(broken));
        }
    }
    let sha256 = match answer {
        Some(Answer::Problem(status, text)) => {
            return (status, Json(Problem::new("scripted", text))).into_response();
        }
        Some(Answer::WrongDigest) => "0".repeat(64),
        _ => {
            script.lock().unwrap().taken.push((seq, bytes.clone().into()));
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
        }
    };
    let confirmation = Confirmation { bytes: bytes.len() as u64, sha256 };
    (StatusCode::CREATED, Json(confirmation)).into_response()
}

struct Bench {
    queue: Queue,
    board: Board,
    script: Shared,
    cancel: CancellationToken,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Bench {
    /// An uplink, and an encoder if `listener` is there.
    async fn new(answers: &[(u64, Answer)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bench = Self::towards(listener.local_addr().unwrap(), answers);
        bench.serve(listener);
        bench
    }

    fn towards(address: SocketAddr, answers: &[(u64, Answer)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = clock::system();
        let board = Board::new(clock.clone());
        let queue = Queue::new(1 << 20, None);
        let script = Shared::default();
        for (seq, answer) in answers {
            script.lock().unwrap().answers.entry(*seq).or_default().push(*answer);
        }
        let destination = Destination {
            base: format!("http://{address}"),
            token: "correct-horse".parse().unwrap(),
            room: "demo".parse().unwrap(),
            device: "box-7".parse().unwrap(),
            session: SessionId::new(clock.utc()),
        };
        let sender = Sender::new(destination, None, queue.clone(), board.clone()).unwrap();
        let cancel = CancellationToken::new();
        tokio::spawn(sender.run(cancel.clone()));
        Self { queue, board, script, cancel }
    }

    fn serve(&self, listener: TcpListener) {
        let app = Router::new()
            .route("/ingest/{room}/{session}/{file}", put(take))
            .with_state(self.script.clone());
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            let served = axum::serve(listener, app);
            cancel.run_until_cancelled(served.into_future()).await
        });
    }

    fn segment(&self, seq: u64) {
        let header = Bytes::from(format!("segment {seq}: "));
        self.queue.offer(SegmentEvent::Start { seq, header, start_ts: 0 });
        self.queue.offer(SegmentEvent::Data(Bytes::from(vec![b'x'; 100])));
        self.queue.offer(SegmentEvent::End { seq, duration_ms: 2_000 });
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.queue.changes();
        let mut moods = self.board.subscribe();
        let wait = async {
            while !condition(self) {
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = moods.changed() => {}
                    // What the encoder's side has seen wakes nobody here.
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        };
        if tokio::time::timeout(DEADLINE, wait).await.is_err() {
            panic!("waited in vain until {what}; the uplink is {:?}", self.board.get(COMPONENT));
        }
    }

    async fn until_confirmed(&self, segments: u64) {
        self.until("everything is confirmed", |bench| {
            bench.queue.with(|ledger| ledger.totals().confirmed) == segments
        })
        .await;
    }

    fn taken(&self) -> Vec<u64> {
        self.script.lock().unwrap().taken.iter().map(|(seq, _)| *seq).collect()
    }

    fn was(&self, mood: Mood, words: &str) -> bool {
        let told = format!("{mood}: ");
        self.board
            .events()
            .iter()
            .any(|event| event.message.starts_with(&told) && event.message.contains(words))
    }
}

#[tokio::test]
async fn a_body_leaves_while_the_segment_is_made() {
    let bench = Bench::new(&[]).await;
    let header = Bytes::from_static(b"header");
    bench.queue.offer(SegmentEvent::Start { seq: 0, header: header.clone(), start_ts: 0 });
    bench
        .until("the first bytes are there", |bench| {
            bench.script.lock().unwrap().begun == [(0, header.clone())]
        })
        .await;
    bench.queue.offer(SegmentEvent::Data(Bytes::from_static(b" and tag")));
    bench.queue.offer(SegmentEvent::End { seq: 0, duration_ms: 2_000 });
    bench.until_confirmed(1).await;
    assert_eq!(bench.script.lock().unwrap().taken, [(0, Bytes::from_static(b"header and tag"))]);
    assert_eq!(bench.board.get(COMPONENT).unwrap().mood, Mood::Happy);
    assert_eq!(bench.queue.with(|ledger| ledger.backlog()), (0, 0, 0));
}

#[tokio::test]
async fn a_broken_connection_loses_nothing() {
    let bench = Bench::new(&[(0, Answer::Cut(5)), (0, Answer::Cut(20))]).await;
    bench.segment(0);
    bench.until_confirmed(1).await;
    let body = bench.script.lock().unwrap().taken[0].1.clone();
    assert!(body.starts_with(b"segment 0: x") && body.len() == 111);
}

#[tokio::test]
async fn a_full_disk_is_told_and_waited_out() {
    let full = Answer::Problem(StatusCode::INSUFFICIENT_STORAGE, "the archive's disk is full");
    let bench = Bench::new(&[(0, full), (0, full)]).await;
    bench.segment(0);
    bench.until_confirmed(1).await;
    assert!(bench.was(Mood::Sad, "507"), "{:?}", bench.board.events());
    assert!(bench.was(Mood::Sad, "the archive's disk is full"));
    assert_eq!(bench.board.get(COMPONENT).unwrap().mood, Mood::Happy);
}

#[tokio::test]
async fn a_wrong_digest_is_sent_again() {
    let bench = Bench::new(&[(0, Answer::WrongDigest)]).await;
    bench.segment(0);
    bench.until_confirmed(1).await;
    assert!(bench.was(Mood::Sad, "the encoder confirmed 111 bytes with digest 0000"));
}

#[tokio::test]
async fn what_the_encoder_will_never_take_is_counted_as_lost() {
    let broken = Answer::Problem(StatusCode::BAD_REQUEST, "tag at 13 is broken");
    let bench = Bench::new(&[(0, broken)]).await;
    bench.segment(0);
    bench.segment(1);
    bench.until_confirmed(1).await;
    bench
        .until("the loss is counted", |bench| bench.queue.with(|ledger| ledger.totals().lost) == 1)
        .await;
    let told = bench.board.events().iter().any(|event| {
        event.message.starts_with("segment 0 (2.0 s) is lost: the encoder answered 400")
    });
    assert!(told, "{:?}", bench.board.events());
}

#[tokio::test]
async fn an_encoder_that_was_away_gets_everything() {
    // A port that nobody listens on: bound and let go.
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let bench = Bench::towards(address, &[]);
    for seq in 0..5 {
        bench.segment(seq);
    }
    bench
        .until("the uplink is sad", |bench| {
            bench.board.get(COMPONENT).is_some_and(|status| status.mood == Mood::Sad)
        })
        .await;
    let sad = bench.board.get(COMPONENT).unwrap().reason;
    assert!(sad.contains("cannot be reached"), "{sad}");
    assert!(sad.contains("wait in memory"), "{sad}");
    bench.serve(TcpListener::bind(address).await.unwrap());
    bench.until_confirmed(5).await;
    let mut taken = bench.taken();
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 2, 3, 4]);
}
