//! A USB grabber that the test plugs into the machine and pulls again, from outside: QEMU connects
//! its `usb-redir` device to our socket, and the guest's own drivers do the rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::patience;
use super::usbredir::{CAPABILITIES, Decoder, Form, Packet, encode};
use super::uvc::{Camera, RATE};
use crate::until;

const PICTURE: Duration = Duration::from_millis(1000 / RATE as u64);

/// A grabber; unplugged at first.
#[derive(Debug)]
pub struct Grabber {
    socket: PathBuf,
    plugged: watch::Sender<bool>,
    frames: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Grabber {
    /// A grabber for the QEMU that connects to `socket`, which is made here.
    ///
    /// # Panics
    /// When the socket cannot be made.
    pub fn at(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (plugged, plug) = watch::channel(false);
        let frames = Arc::default();
        let task = tokio::spawn(serve(listener, plug, Arc::clone(&frames)));
        Self { socket: socket.to_owned(), plugged, frames, task }
    }

    /// Where QEMU is to connect to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Plugs it in.
    pub fn plug(&self) {
        self.plugged.send_replace(true);
    }

    /// Pulls it.
    pub fn unplug(&self) {
        self.plugged.send_replace(false);
    }

    /// Pictures that the guest has taken so far.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Waits until the guest has taken some more pictures.
    ///
    /// # Panics
    /// When it does not.
    pub async fn is_read(&self) {
        let wanted = self.frames() + 10;
        until(patience(120), "the guest to read the grabber", async || {
            (self.frames() >= wanted).then_some(())
        })
        .await;
    }
}

impl Drop for Grabber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: UnixListener, plug: watch::Receiver<bool>, frames: Arc<AtomicU64>) {
    // A machine that is started again connects again.
    while let Ok((stream, _)) = listener.accept().await {
        let _ = Line::new(stream, Arc::clone(&frames)).run(plug.clone()).await;
    }
}

/// One connection of QEMU.
struct Line {
    stream: UnixStream,
    decoder: Decoder,
    camera: Camera,
    frames: Arc<AtomicU64>,
    /// Whether QEMU has said hello.
    known: bool,
    /// Whether QEMU knows the device as plugged in.
    connected: bool,
    due: Instant,
}

impl Line {
    fn new(stream: UnixStream, frames: Arc<AtomicU64>) -> Self {
        let (decoder, camera) = Default::default();
        let due = Instant::now();
        Self { stream, decoder, camera, frames, known: false, connected: false, due }
    }

    /// Runs until QEMU goes.
    async fn run(mut self, mut plug: watch::Receiver<bool>) -> std::io::Result<()> {
        let hello = Packet::Hello("backrow grabber".to_owned(), CAPABILITIES);
        self.stream.write_all(&encode(0, &hello, Form::default())).await?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let wanted = *plug.borrow_and_update();
            self.follow(wanted).await?;
            tokio::select! {
                read = self.stream.read(&mut buffer) => {
                    let count = read?;
                    if count == 0 {
                        return Ok(());
                    }
                    self.decoder.feed(&buffer[..count]);
                    self.answer().await?;
                }
                changed = plug.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = sleep_until(self.due), if self.camera.wanted() => self.give().await?,
            }
        }
    }

    /// Tells QEMU of a plug put in or pulled.
    async fn follow(&mut self, wanted: bool) -> std::io::Result<()> {
        if !self.known || wanted == self.connected {
            return Ok(());
        }
        self.connected = wanted;
        if wanted {
            for packet in Camera::plugged() {
                self.send(0, &packet).await?;
            }
            return Ok(());
        }
        self.camera.pull();
        self.send(0, &Packet::Disconnect).await
    }

    async fn answer(&mut self) -> std::io::Result<()> {
        while let Some((id, packet)) = self.decoder.packet().map_err(|error| {
            std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
        })? {
            self.known |= matches!(packet, Packet::Hello(..));
            if self.connected {
                for (id, packet) in self.camera.take(id, packet) {
                    self.send(id, &packet).await?;
                }
            }
        }
        Ok(())
    }

    /// Gives pieces up to the end of the picture that is due.
    async fn give(&mut self) -> std::io::Result<()> {
        while let Some((id, packet)) = self.camera.give() {
            self.send(id, &packet).await?;
            if self.camera.at_start() {
                self.frames.fetch_add(1, Ordering::Relaxed);
                // Who reads late does not get the missed pictures in a burst.
                self.due = (self.due + PICTURE).max(Instant::now());
                break;
            }
        }
        Ok(())
    }

    async fn send(&mut self, id: u64, packet: &Packet) -> std::io::Result<()> {
        let bytes = encode(id, packet, self.decoder.form());
        self.stream.write_all(&bytes).await
    }
}
