//! The make-believe bus: `testbed.py` under umockdev-wrapper, and the program run inside it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

/// A bus with nothing on it, until devices are added.
pub(crate) struct Bench {
    python: Child,
    commands: ChildStdin,
    answers: mpsc::Receiver<String>,
    directory: PathBuf,
    /// Holds the testbed's directory, which it leaves behind when it is killed.
    _room: tempfile::TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}

/// Hands on the lines of a stream.
fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Bench {
    /// Sets up an empty bus.
    pub(crate) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices/testbed.py");
        let room = tempfile::tempdir().expect("a directory");
        // Debian's own Python, for which python3-gi is installed.
        let mut python = Command::new("umockdev-wrapper")
            .arg("/usr/bin/python3")
            .arg("-B")
            .arg(script)
            .env("TMPDIR", room.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("umockdev, python3-gi and gir1.2-umockdev-1.0 are installed");
        let commands = python.stdin.take().expect("a pipe");
        let answers = lines(python.stdout.take().expect("a pipe"));
        let mut bench = Self { python, commands, answers, directory: PathBuf::new(), _room: room };
        let first = bench.answer();
        bench.directory = first["directory"].as_str().expect("a directory").into();
        bench
    }

    fn answer(&self) -> Value {
        let line = self.answers.recv().expect("the testbed's answer; see its error above");
        serde_json::from_str(&line).expect("JSON")
    }

    fn obey(&mut self, command: &Value) -> Value {
        writeln!(self.commands, "{command}").expect("the testbed listens");
        self.answer()
    }

    fn add(&mut self, subsystem: &str, name: &str, parent: Option<&str>, about: &Value) -> String {
        let mut device = json!({ "subsystem": subsystem, "name": name, "parent": parent });
        for (key, value) in about.as_object().expect("an object") {
            device[key] = value.clone();
        }
        let answer = self.obey(&json!({ "add": device }));
        answer["path"].as_str().expect("a path").to_owned()
    }

    /// A USB device at this place on the bus.
    pub(crate) fn usb(&mut self, place: &str, vendor: &str, product: &str) -> String {
        let about = json!({
            "attributes": { "idVendor": vendor, "idProduct": product },
            "properties": { "DEVTYPE": "usb_device", "ID_PATH": format!("pci-{place}") },
        });
        self.add("usb", place, None, &about)
    }

    /// A device of the board.
    pub(crate) fn platform(&mut self, name: &str) -> String {
        self.add("platform", name, None, &json!({}))
    }

    /// `/dev/video{number}` of this device. `capabilities` are as v4l_id tells them.
    pub(crate) fn video(
        &mut self,
        parent: &str,
        number: u32,
        name: &str,
        capabilities: &str,
        index: u32,
    ) -> String {
        let place = parent.rsplit('/').next().expect("a name");
        let about = json!({
            "attributes": { "name": name, "index": index.to_string() },
            "properties": {
                "DEVNAME": format!("/dev/video{number}"),
                "ID_V4L_CAPABILITIES": capabilities,
                "ID_PATH": format!("pci-{place}"),
                "DEVLINKS": format!("/dev/v4l/by-path/pci-{place}-video-index{index}"),
            },
        });
        self.add("video4linux", &format!("video{number}"), Some(parent), &about)
    }

    /// A recording sound card of this device.
    pub(crate) fn sound(&mut self, parent: &str, number: u32, id: &str) {
        let about = json!({ "attributes": { "id": id } });
        let card = self.add("sound", &format!("card{number}"), Some(parent), &about);
        let pcm = json!({ "properties": { "DEVNAME": format!("/dev/snd/pcmC{number}D0c") } });
        self.add("sound", &format!("pcmC{number}D0c"), Some(&card), &pcm);
    }

    /// A FireWire node.
    pub(crate) fn firewire(&mut self, name: &str, guid: &str, units: &str, model: &str) -> String {
        let about = json!({
            "attributes": {
                "guid": guid, "units": units, "vendor_name": "Canopus", "model_name": model,
            },
            "properties": { "DEVNAME": format!("/dev/{name}") },
        });
        self.add("firewire", name, None, &about)
    }

    /// Adds a camera with this node that works; `fault` may be `busy` or `gone`, and `h264` a film
    /// that it gives as its own H.264.
    pub(crate) fn camera(&mut self, node: &str, fault: Option<&str>, h264: Option<&Path>) {
        self.obey(&json!({ "camera": { "node": node, "fault": fault, "h264": h264 } }));
    }

    /// Unplugs.
    pub(crate) fn remove(&mut self, path: &str) {
        self.obey(&json!({ "remove": path }));
    }

    /// An event that says no more than that something has changed.
    pub(crate) fn change(&mut self, path: &str) {
        self.obey(&json!({ "change": path }));
    }

    /// The program, inside the make-believe.
    pub(crate) fn collector(&self, args: &[&str]) -> Command {
        let mut command = Command::new(backrow_tests::process::binary("collector"));
        command
            .args(args)
            .env("LD_PRELOAD", "libumockdev-preload.so.0")
            .env("UMOCKDEV_DIR", &self.directory)
            .stdin(Stdio::null());
        command
    }

    /// What `collector devices` prints.
    pub(crate) fn devices(&self, args: &[&str]) -> String {
        let output = self.collector(&[&["devices"], args].concat()).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// What `collector devices --json` prints.
    pub(crate) fn listing(&self) -> Value {
        serde_json::from_str(&self.devices(&["--json"])).expect("JSON")
    }

    /// Starts `collector devices --watch`.
    pub(crate) fn watch(&self) -> Watch {
        let mut command = self.collector(&["devices", "--watch"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
        let lines = lines(child.stdout.take().expect("a pipe"));
        Watch { child, lines }
    }
}

/// A running `collector devices --watch`.
pub(crate) struct Watch {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watch {
    /// The next line, if it has come.
    pub(crate) fn try_line(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
