//! We publish to servers of others: what they record is what was sent.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use flv::{AvcPacket, Parser, Tag, TagKind};
use rtmp::Publish;

/// Stops the server when the test ends, however it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tags_of(bytes: &[u8]) -> Vec<Tag> {
    let (mut parser, mut tags) = (Parser::default(), Vec::new());
    parser.push(bytes);
    while let Some(tag) = parser.next_tag().unwrap() {
        tags.push(tag);
    }
    tags
}

/// 2 s of real H.264 and AAC.
fn media() -> Vec<Tag> {
    let arguments = "-nostdin -v error -f lavfi -i testsrc2=size=320x180:rate=25:duration=2 \
        -f lavfi -i sine=sample_rate=44100:duration=2 -c:v libx264 -preset ultrafast -tune zerolatency \
        -pix_fmt yuv420p -c:a aac -f flv -";
    let output = Command::new("ffmpeg").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    tags_of(&output.stdout)
}

/// A port that was free a moment ago: these servers cannot be asked which one they took.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn connect(port: u16) -> TcpStream {
    for _ in 0..1000 {
        if let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            return socket;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("nobody listens on port {port}");
}

fn publish(mut socket: TcpStream, url: &str, tags: &[Tag]) {
    let mut client = Publish::new(url.parse().unwrap());
    let mut buffer = vec![0; 16 * 1024];
    while !client.publishing() {
        socket.write_all(&client.output()).unwrap();
        let count = socket.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the server has closed the connection");
        client.push(&buffer[..count]).unwrap();
    }
    for tag in tags {
        client.tag(tag).unwrap();
        socket.write_all(&client.output()).unwrap();
    }
    client.end().unwrap();
    socket.write_all(&client.output()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    // Until the server is done with it.
    while socket.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// Frames without their headers: what a server that remuxes keeps as it is.
fn frames(tags: &[Tag]) -> Vec<(TagKind, Bytes)> {
    let frame = |tag: &&Tag| {
        tag.video().is_some_and(|video| video.packet == AvcPacket::Nalu)
            || (tag.audio().is_some() && !tag.is_sequence_header())
    };
    tags.iter().filter(frame).map(|tag| (tag.kind, tag.payload())).collect()
}

fn compare(recording: &Path, sent: &[Tag]) {
    let recorded = tags_of(&std::fs::read(recording).unwrap());
    for kind in [TagKind::Video, TagKind::Audio] {
        let of_kind = |tags: &[Tag]| -> Vec<Bytes> {
            let frames = frames(tags).into_iter();
            frames.filter(|(found, _)| *found == kind).map(|(_, data)| data).collect()
        };
        let (recorded, sent) = (of_kind(&recorded), of_kind(sent));
        assert!(sent.len() >= 50);
        assert_eq!(recorded.len(), sent.len(), "{kind:?}");
        assert!(recorded == sent, "{kind:?} frames differ");
    }
}

#[test]
fn to_ffmpeg() {
    let directory = tempfile::tempdir().unwrap();
    let recording = directory.path().join("out.flv");
    let url = format!("rtmp://127.0.0.1:{}/live/demo", free_port());
    let mut server = Server(
        Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-listen", "1", "-i", &url, "-c", "copy"])
            .arg(&recording)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let tags = media();
    let port = url.parse::<rtmp::Destination>().unwrap().port;
    publish(connect(port), &url, &tags);
    assert!(server.0.wait().unwrap().success());
    compare(&recording, &tags);
}

#[test]
fn to_nginx() {
    let directory = tempfile::tempdir().unwrap();
    let (place, port) = (directory.path().display(), free_port());
    let configuration = directory.path().join("nginx.conf");
    // One process under this very user, which may write where the test may.
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
         daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; record all; \
         record_path {place}; record_suffix .flv; }} }} }}\n"
    );
    std::fs::write(&configuration, text).unwrap();
    let _server = Server(
        Command::new("nginx")
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&configuration)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let tags = media();
    publish(connect(port), &format!("rtmp://127.0.0.1:{port}/live/demo"), &tags);
    compare(&directory.path().join("demo.flv"), &tags);

    // An application it does not know: it says nothing, and closes.
    let mut client = Publish::new(format!("rtmp://127.0.0.1:{port}/other/demo").parse().unwrap());
    let (mut socket, mut buffer) = (connect(port), vec![0; 4096]);
    loop {
        socket.write_all(&client.output()).unwrap();
        match socket.read(&mut buffer) {
            Ok(count) if count > 0 => client.push(&buffer[..count]).unwrap(),
            _ => break,
        }
    }
    assert!(!client.publishing());
}
