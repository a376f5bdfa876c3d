//! RTMP from the programs people publish with.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use encoder::ingest::Options;
use flv::{AvcPacket, Tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::archive::probe_only_session;
use super::site::{Site, TOKEN, refusal, session, until};
use super::sources::{ffmpeg, segments};

/// 4 s at 25 frames a second, with sound, in real time or as fast as it goes.
const PICTURES: usize = 100;
const SOURCE: &str = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=4 \
                      -f lavfi -i sine=sample_rate=44100:duration=4";
const ENCODE: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 \
                      -c:a aac -b:a 64k -f flv";

async fn run(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap()
}

fn publish(url: &str) -> Command {
    ffmpeg(&format!("{SOURCE} {ENCODE} {url}"))
}

fn gstreamer(sink: &str) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    // `-e`: end of stream is waited for, as a program that stops in good order does.
    let pipeline = format!(
        "-e flvmux name=mux streamable=true ! {sink} \
         videotestsrc num-buffers={PICTURES} ! video/x-raw,width=320,height=180,framerate=25/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! h264parse ! queue ! mux. \
         audiotestsrc num-buffers=172 samplesperbuffer=1024 ! audio/x-raw,rate=44100,channels=2 ! \
         voaacenc ! aacparse ! queue ! mux."
    );
    command.args(pipeline.split_whitespace()).stdin(Stdio::null());
    command
}

fn pictures(tags: &[Tag]) -> usize {
    let nalu = |tag: &&Tag| tag.video().is_some_and(|video| video.packet == AvcPacket::Nalu);
    tags.iter().filter(nalu).count()
}

/// A publish that must work: everything on air once and in order, and in the recording.
async fn publishes_whole(site: Site, command: Command) {
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    until("the publisher is gone", || site.demo.changes().last().is_some_and(|l| l == "gone"))
        .await;
    let changes = site.demo.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes[0].ends_with(" -"), "{changes:?}");
    let tags = site.demo.tags();
    assert_eq!(pictures(&tags), PICTURES, "{said}");
    assert!(tags.iter().any(|tag| tag.audio().is_some()));
    // flvmux repeats its metadata all the time: only what is new is passed on.
    let scripts = tags.iter().filter(|tag| tag.kind == flv::TagKind::Script).count();
    assert!((1..=4).contains(&scripts), "{scripts} metadata tags");
    until("the recording is finished", || {
        let files = site.sessions().first().map(|session| site.files(session)).unwrap_or_default();
        !files.is_empty() && files.iter().all(|name| !name.ends_with(".tmp"))
    })
    .await;
    let (video, audio, seconds) = probe_only_session(&site).await;
    assert_eq!(video, PICTURES as u64);
    assert!((165..=180).contains(&audio), "{audio}");
    assert!((3.8..4.1).contains(&seconds), "{seconds}");
    assert!(site.other.changes().is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes() {
    let site = Site::start().await;
    let url = format!("rtmp://{}/live/demo?token={TOKEN}", site.rtmp);
    publishes_whole(site, publish(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_to_the_short_address() {
    let site = Site::start().await;
    let url = format!("rtmp://{}/demo/{TOKEN}", site.rtmp);
    publishes_whole(site, publish(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamers_rtmp2sink_publishes() {
    let site = Site::start().await;
    let url = format!("rtmp://{}/live/demo?token={TOKEN}", site.rtmp);
    publishes_whole(site, gstreamer(&format!("rtmp2sink sync=false location={url}"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamers_rtmpsink_publishes() {
    let site = Site::start().await;
    let url = format!("rtmp://{}/live/demo?token={TOKEN}", site.rtmp);
    publishes_whole(site, gstreamer(&format!("rtmpsink sync=false location={url}"))).await;
}

/// A publish that must fail, and what the person at the client gets to read.
async fn refused(command: Command, wanted: &str) {
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(wanted), "wanted: {wanted}\nsaid: {said}");
}

/// Publishes in real time until it is dropped.
struct Publisher(Child);

impl Publisher {
    fn start(url: &str) -> Self {
        let source =
            SOURCE.replace("duration=4", "duration=600").replace("-f lavfi", "-re -f lavfi");
        let mut command = ffmpeg(&format!("{source} {ENCODE} {url}"));
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_reaches_the_person_at_the_client() {
    let site = Site::start().await;
    let base = format!("rtmp://{}", site.rtmp);
    let url = format!("{base}/live/nowhere?token={TOKEN}");
    refused(publish(&url), "this encoder has no room \"nowhere\"; check the room's name").await;
    let url = format!("{base}/live/demo?token=wrong-token");
    refused(publish(&url), "that is not the token of room \"demo\"; compare it with").await;
    let url = format!("{base}/live/demo");
    let wanted = "room \"demo\" asks for its token; publish to rtmp://HOST/live/ROOM?token=TOKEN or \
                  rtmp://HOST/ROOM/TOKEN (OBS: server rtmp://HOST/live, stream key ROOM?token=TOKEN)";
    refused(publish(&url), wanted).await;
    let url = format!("{base}/a/b/c/d");
    refused(publish(&url), "the address names no room; publish to rtmp://HOST/live/ROOM").await;
    // Nothing of it was ever on air.
    assert!(site.demo.changes().is_empty() && site.sessions().is_empty());

    let url = format!("{base}/live/demo?token={TOKEN}");
    let first = Publisher::start(&url);
    until("the first is on air", || site.demo.changes().last().is_some_and(|l| l != "gone")).await;
    let before = site.demo.changes().len();
    refused(publish(&url), "room \"demo\" is taken: it is being published by session").await;
    let response = site.put(session(1), 0, segments()[0].bytes.clone()).send().await.unwrap();
    let (status, code, _) = refusal(response).await;
    assert_eq!((status, code.as_str()), (409, "room-occupied"));
    // It was not disturbed.
    let count = site.demo.tags().len();
    until("it goes on", || site.demo.tags().len() > count + 20).await;
    assert_eq!(site.demo.changes().len(), before);
    // Killed, not ended: the next one has the room at once, and both recordings are there.
    drop(first);
    until("it is gone", || site.demo.changes().len() == before + 1).await;
    let output = run(publish(&url)).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("there are two recordings", || {
        let sessions = site.sessions();
        let finished = |session: &String| {
            let files = site.files(session);
            !files.is_empty() && files.iter().all(|name| !name.ends_with(".tmp"))
        };
        sessions.len() >= 2 && sessions.iter().all(finished)
    })
    .await;
    site.stop().await;
}

/// The collector's own client.
struct Client {
    socket: TcpStream,
    publish: rtmp::Publish,
}

impl Client {
    async fn publishing(url: &str) -> Self {
        let destination: rtmp::Destination = url.parse().unwrap();
        let socket = TcpStream::connect((destination.host.as_str(), destination.port)).await;
        let mut client = Self { socket: socket.unwrap(), publish: rtmp::Publish::new(destination) };
        while !client.publish.publishing() {
            client.listen().await.unwrap();
        }
        client
    }

    async fn send(&mut self, tags: &[Tag]) {
        for tag in tags {
            self.publish.tag(tag).unwrap();
        }
        self.socket.write_all(&self.publish.output()).await.unwrap();
    }

    async fn listen(&mut self) -> Result<(), rtmp::Error> {
        self.socket.write_all(&self.publish.output()).await.unwrap();
        let mut buffer = [0; 4096];
        let reading = self.socket.read(&mut buffer);
        let count = tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap().unwrap();
        assert_ne!(count, 0, "the server has closed the connection");
        self.publish.push(&buffer[..count])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_codec_ends_the_publish_and_is_named() {
    let site = Site::start().await;
    let url = format!("rtmp://{}/demo/{TOKEN}", site.rtmp);
    let mut client = Client::publishing(&url).await;
    let data = b"\x1c\0\0\0\0hvcC".as_slice().into();
    client.send(&[Tag { kind: flv::TagKind::Video, timestamp: 0, data }]).await;
    let error = client.listen().await.unwrap_err().to_string();
    let wanted = "(NetStream.Publish.Rejected: \"room \"demo\": video is HEVC; only H.264 video and \
                  AAC audio are taken\")";
    assert!(error.ends_with(wanted), "{error}");
    assert!(site.demo.changes().is_empty());
    // The room is free at once.
    publishes_whole(site, publish(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_silence_the_room_is_asked_for_again() {
    let site = Site::start().await;
    let url = format!("rtmp://{}/demo/{TOKEN}", site.rtmp);
    let mut client = Client::publishing(&url).await;
    // Metadata, both sequence headers, and a few frames.
    let tags = segments()[0].tags.clone();
    let (headers, frames) = tags.split_at(3);
    client.send(headers).await;
    client.send(&frames[..4]).await;
    until("it is let go", || site.demo.changes().last().is_some_and(|l| l == "gone")).await;
    client.send(&frames[4..8]).await;
    until("it is back", || site.demo.tags().len() == 14).await;
    let changes = site.demo.changes();
    assert_eq!((changes.len(), &changes[0]), (3, &changes[2]));
    // The room is told again what it needs to know, and nothing is missing or there twice.
    let got = site.demo.tags();
    let again: Vec<_> = headers.iter().map(|tag| tag.data.clone()).collect();
    assert_eq!(got[..7], tags[..7]);
    assert_eq!(got[7..10].iter().map(|tag| tag.data.clone()).collect::<Vec<_>>(), again);
    assert_eq!(got[10..], tags[7..11]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_shown_the_door() {
    let options = Options { handshake: Duration::from_millis(200), ..Options::default() };
    let site = Site::start_with(options, 0).await;
    // One says nothing, one speaks HTTP, one stops in the handshake, one sends rubbish after it.
    let after_handshake = [vec![3], vec![0; 1536 * 2], vec![0xFF; 5000]].concat();
    for said in [Vec::new(), b"GET / HTTP/1.0\r\n\r\n".to_vec(), vec![3; 100], after_handshake] {
        let mut socket = TcpStream::connect(site.rtmp).await.unwrap();
        socket.write_all(&said).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good an end as a close.
        let reading = socket.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
    }
    let url = format!("rtmp://{}/live/demo?token={TOKEN}", site.rtmp);
    publishes_whole(site, publish(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_encoder_finishes_its_recordings() {
    let site = Site::start().await;
    let url = format!("rtmp://{}/live/demo?token={TOKEN}", site.rtmp);
    let _publisher = Publisher::start(&url);
    until("40 pictures are on air", || pictures(&site.demo.tags()) > 40).await;
    let session = site.sessions()[0].clone();
    let directory = site.stop().await.unwrap();
    let found = std::fs::read_dir(directory.path().join("demo").join(session)).unwrap();
    let names: Vec<_> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().filter(|name| name.ends_with(".flv")).count() >= 2, "{names:?}");
    assert!(
        names.iter().all(|name| !name.contains("tmp") && !name.contains("partial")),
        "{names:?}"
    );
}
