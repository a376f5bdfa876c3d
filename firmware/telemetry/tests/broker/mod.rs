//! A real mosquitto on a free port, and a client that hears all that is said there.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use protocol::config::{self, Mqtt};
use rumqttc::{
    AsyncClient, Event, MqttOptions, Packet, Publish, PublishOptions, QoS, TlsConfiguration,
    Transport,
};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// How long a condition may take to come about on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running mosquitto; ends when dropped.
pub(crate) struct Broker {
    dir: TempDir,
    options: String,
    port: u16,
    process: Child,
}

impl Broker {
    /// Anybody may come.
    pub(crate) async fn open() -> Self {
        Self::start(tempfile::tempdir().unwrap(), "allow_anonymous true\n".to_owned()).await
    }

    /// With more lines of configuration; their files are in `dir`.
    pub(crate) async fn start(dir: TempDir, options: String) -> Self {
        loop {
            // Free now; should somebody else take it before mosquitto does, another is tried.
            let port =
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let mut process = launch(dir.path(), port, &options);
            if listens(&mut process, port).await {
                return Self { dir, options, port, process };
            }
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap()
    }

    /// Kills it without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again at the same port, remembering nothing.
    pub(crate) async fn restart(&mut self) {
        let started = async {
            loop {
                self.process = launch(self.dir.path(), self.port, &self.options);
                if listens(&mut self.process, self.port).await {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, started).await.expect("its port is free again");
    }

    /// The `[mqtt]` table for it, with more keys.
    pub(crate) fn config(&self, scheme: &str, more: &str) -> Mqtt {
        mqtt(&format!("url = \"{scheme}://127.0.0.1:{}\"\n{more}", self.port), self.dir.path())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An `[mqtt]` table, as the daemons read it.
pub(crate) fn mqtt(table: &str, dir: &Path) -> Mqtt {
    let text = format!(
        "room = \"demo\"\n[encoder]\nurl = \"http://e\"\ntoken = \"correct-horse\"\n[mqtt]\n{table}"
    );
    config::site::load(&text, &dir.join("site.toml")).unwrap().mqtt.unwrap()
}

fn launch(dir: &Path, port: u16, options: &str) -> Child {
    let file = dir.join("mosquitto.conf");
    // Started by root it would change to a user who cannot read the directory.
    let text = format!("user root\npersistence false\nlistener {port} 127.0.0.1\n{options}");
    fs::write(&file, text).unwrap();
    let program =
        if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    Command::new(program)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("mosquitto.log")).unwrap())
        .spawn()
        .expect("mosquitto is installed")
}

/// Whether it comes to listen; not when it has ended instead.
async fn listens(process: &mut Child, port: u16) -> bool {
    let listening = async {
        loop {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.is_ok() {
                return process.try_wait().unwrap().is_none();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.expect("mosquitto starts")
}

/// A client id that no other listener has: the broker would send one of the two away.
fn listener_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("listener-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Somebody who hears everything said below `backrow/`.
pub(crate) struct Listener {
    heard: mpsc::UnboundedReceiver<Publish>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Subscribes, and returns when that is confirmed.
    pub(crate) async fn at(broker: &Broker) -> Self {
        Self::with(MqttOptions::new(listener_id(), ("127.0.0.1", broker.port()))).await
    }

    /// The same over TLS with a certificate.
    pub(crate) async fn with_certificate(
        broker: &Broker,
        authority: &Authority,
        name: &str,
    ) -> Self {
        let read = |file: &str| fs::read(authority.file(file)).unwrap();
        let mut options = MqttOptions::new(listener_id(), ("127.0.0.1", broker.port()));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
            ca: read("ca.pem"),
            alpn: None,
            client_auth: Some((read(&format!("{name}.pem")), read(&format!("{name}.key")))),
        }));
        Self::with(options).await
    }

    /// Hears what is said to Home Assistant instead.
    pub(crate) async fn of_home_assistant(broker: &Broker) -> Self {
        let options = MqttOptions::new(listener_id(), ("127.0.0.1", broker.port()));
        Self::below(options, "homeassistant/#").await
    }

    async fn with(options: MqttOptions) -> Self {
        Self::below(options, "backrow/#").await
    }

    async fn below(mut options: MqttOptions, filter: &str) -> Self {
        // A preview is larger than the usual limit.
        options.set_unlimited_incoming_packet_size();
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(10).build();
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        let (subscribed, mut is_subscribed) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let _keep = client;
            while let Ok(event) = eventloop.poll().await {
                match event {
                    // Nobody listens any more: the listener is being dropped, and this task too.
                    Event::Incoming(Packet::Publish(publish)) => drop(tell.send(publish)),
                    Event::Incoming(Packet::SubAck(_)) => subscribed.send(()).await.unwrap(),
                    _ => {}
                }
            }
        });
        tokio::time::timeout(PATIENCE, is_subscribed.recv())
            .await
            .expect("the listener is subscribed")
            .expect("the broker lets the listener in");
        Self { heard, task }
    }

    /// The next message: topic below the device, payload.
    pub(crate) async fn next(&mut self) -> (String, String) {
        let publish = tokio::time::timeout(PATIENCE, self.heard.recv())
            .await
            .expect("something is said in time")
            .expect("the listener is connected");
        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
        let short = topic.strip_prefix("backrow/box-7/").map_or(topic.clone(), str::to_owned);
        (short, String::from_utf8_lossy(&publish.payload).into_owned())
    }

    /// Hears until each topic has said something, in whatever order; gives what each said last.
    pub(crate) async fn hear(&mut self, topics: &[&str]) -> BTreeMap<String, String> {
        let mut heard = BTreeMap::new();
        while !topics.iter().all(|topic| heard.contains_key(*topic)) {
            let (topic, payload) = self.next().await;
            heard.insert(topic, payload);
        }
        heard
    }

    /// Hears until a topic says something that has `part` in it; returns the payload.
    pub(crate) async fn until(&mut self, topic: &str, part: &str) -> String {
        loop {
            let (heard, payload) = self.next().await;
            if heard == topic && payload.contains(part) {
                return payload;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somebody who says things to devices.
pub(crate) struct Operator {
    client: AsyncClient,
    task: JoinHandle<()>,
}

impl Operator {
    /// Connects.
    pub(crate) fn at(broker: &Broker) -> Self {
        let options = MqttOptions::new(listener_id(), ("127.0.0.1", broker.port()));
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(10).build();
        let task = tokio::spawn(async move { while eventloop.poll().await.is_ok() {} });
        Self { client, task }
    }

    /// Says something; returns when the broker has it.
    pub(crate) async fn say(&self, topic: &str, payload: &str, retain: bool) {
        let options = PublishOptions::at_least_once().retain(retain);
        let said = self.client.try_publish_tracked(topic, payload.to_owned(), options).unwrap();
        tokio::time::timeout(PATIENCE, said.wait_completion_async())
            .await
            .expect("the broker takes it in time")
            .expect("the broker takes it");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A way to a broker that can be shut and opened again, as networks do.
pub(crate) struct Gate {
    port: u16,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Gate {
    /// An open one.
    pub(crate) async fn to(broker: &Broker) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.port()));
        let (open, is_open) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    if !*is_open.borrow() {
                        return;
                    }
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { port, open, task }
    }

    /// Cuts every connection and lets none through any more.
    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// The `[mqtt]` table for the broker behind it.
    pub(crate) fn config(&self) -> Mqtt {
        mqtt(&format!("url = \"mqtt://127.0.0.1:{}\"\n", self.port), Path::new("/"))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate authority with a server's and clients' certificates, made by openssl.
pub(crate) struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// Makes them in `dir`: `ca.pem`, `server.{pem,key}` for 127.0.0.1, and one for each name.
    pub(crate) fn make(dir: &Path, names: &[&str]) -> Self {
        let this = Self { dir: dir.to_owned() };
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let mut ca = vec!["req", "-x509", "-days", "2", "-subj", "/CN=Test CA"];
        ca.extend(new_key);
        ca.extend(["-keyout", "ca.key", "-out", "ca.pem"]);
        this.openssl(&ca);
        for name in ["server"].iter().chain(names) {
            let mut extensions = String::from("basicConstraints=CA:FALSE\n");
            if *name == "server" {
                writeln!(extensions, "subjectAltName=IP:127.0.0.1").unwrap();
            }
            fs::write(this.file("extensions"), extensions).unwrap();
            let (key, request, pem) =
                (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
            let subject = format!("/CN={name}");
            let mut ask = vec!["req", "-new", "-subj", &subject];
            ask.extend(new_key);
            ask.extend(["-keyout", &key, "-out", &request]);
            this.openssl(&ask);
            this.openssl(&[
                "x509",
                "-req",
                "-days",
                "2",
                "-in",
                &request,
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-extfile",
                "extensions",
                "-out",
                &pem,
            ]);
        }
        this
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(&self.dir).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
