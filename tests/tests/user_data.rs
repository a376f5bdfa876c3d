//! The cloud machine's user data: read by cloud-init itself, and what it writes tried with the
//! programs that are for it: the encoder's own check, a shell, and Caddy before a live room. And the
//! same of a new event's encoder.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backrow_tests::broker::{free_port, mosquitto};
use backrow_tests::process::{Launch, Process, binary};
use backrow_tests::web_client::WebClient;
use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, probe, tool, until,
};

/// Where the encoder is for the web server before it.
const BEHIND: &str = "127.0.0.1:8080";
/// How long the proxy, and a room behind it, may take to come up.
const UP: Duration = Duration::from_secs(60);

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn user_data() -> PathBuf {
    top().join("deploy/cloud-init/encoder.yaml")
}

/// A package that the set-up has unpacked.
fn unpacked(package: &str) -> PathBuf {
    top().join("target/unpacked").join(package)
}

/// Whether cloud-init takes the file, and what it says.
async fn schema(file: &Path) -> (bool, String) {
    let packages = unpacked("cloud-init").join("usr/lib/python3/dist-packages");
    let path = format!("PYTHONPATH={}", packages.display());
    let file = file.display().to_string();
    // Debian's own Python has what cloud-init needs.
    let args =
        [&path, "/usr/bin/python3", "-m", "cloudinit.cmd.main", "schema", "--config-file", &file];
    let output = tool::output("env", &args).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// What the user data writes to `path` on the machine.
async fn written(path: &str) -> String {
    let script = "import sys, yaml\n\
        files = yaml.safe_load(open(sys.argv[1]))['write_files']\n\
        print(next(it['content'] for it in files if it['path'] == sys.argv[2]), end='')";
    let file = user_data().display().to_string();
    let content = tool::run("/usr/bin/python3", &["-c", script, &file, path]).await;
    String::from_utf8(content).unwrap()
}

#[tokio::test]
async fn cloud_init_takes_the_user_data() {
    let (taken, said) = schema(&user_data()).await;
    assert!(taken && said.contains("Valid cloud-config"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    let text = fs::read_to_string(user_data()).unwrap();
    fs::write(&wrong, text.replace("permissions: \"0755\"", "permissions: 755")).unwrap();
    let (taken, said) = schema(&wrong).await;
    assert!(!taken && said.contains("permissions"), "{said}");
}

#[tokio::test]
async fn what_the_user_data_writes_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("encoder.toml").display().to_string();
    fs::write(&config, written("/etc/backrow/encoder.toml").await).unwrap();
    tool::run(binary("encoder").to_str().unwrap(), &["check", "--config", &config]).await;

    let script = folder.path().join("install-backrow").display().to_string();
    fs::write(&script, written("/usr/local/sbin/install-backrow").await).unwrap();
    tool::run("shellcheck", &[&script]).await;
}

/// Caddy with the user data's own configuration, but for names, addresses, and an authority of its
/// own in place of Let's Encrypt's.
struct Caddy {
    process: Process,
    host: String,
    authority: PathBuf,
    _folder: tempfile::TempDir,
}

impl Caddy {
    /// With `site`, for encoder.example.org; each of `moved` is an address in it, and where that is here.
    async fn start(site: &str, moved: &[(&str, SocketAddr)]) -> Self {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let host = format!("localhost:{}", free_port().port());
            let mut site = site.to_owned();
            let moved = moved.iter().map(|(from, to)| ((*from).to_owned(), to.to_string()));
            let name = ("encoder.example.org {".to_owned(), format!("https://{host} {{"));
            for (from, to) in moved.chain([name]) {
                assert!(site.contains(&from), "{site}");
                site = site.replace(&from, &to);
            }
            let options = "{\nadmin off\nlocal_certs\nskip_install_trust\n\
                           auto_https disable_redirects\ngrace_period 1s\n}\n";
            let config = folder.path().join("Caddyfile");
            fs::write(&config, format!("{options}{site}")).unwrap();
            let home = folder.path().display().to_string();
            let launch = Launch::new(unpacked("caddy").join("usr/bin/caddy"))
                .args(["run", "--adapter", "caddyfile", "--config"])
                .args([config.display().to_string()])
                .env("HOME", &home)
                .env("XDG_DATA_HOME", &home)
                .env("XDG_CONFIG_HOME", &home);
            let process = Process::start("caddy", launch, &folder.path().join("log"));
            let authority = folder.path().join("caddy/pki/authorities/local/root.crt");
            let caddy = Self { process, host, authority, _folder: folder };
            let up = until(UP, "Caddy to serve", async || {
                if !caddy.process.is_running() {
                    return Some(false);
                }
                caddy.client()?.get(caddy.url("/healthz")).send().await.ok().map(|_| true)
            });
            if up.await {
                return caddy;
            }
        }
        panic!("Caddy found no free port");
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host)
    }

    /// A client that trusts Caddy's authority and no other.
    fn client(&self) -> Option<reqwest::Client> {
        let certificate = reqwest::Certificate::from_pem(&fs::read(&self.authority).ok()?).ok()?;
        let builder = reqwest::Client::builder().no_proxy();
        builder.tls_certs_only([certificate]).build().ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_published_and_watched_through_caddy() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let site = written("/etc/caddy/Caddyfile").await;
    let caddy = Caddy::start(&site, &[(BEHIND, encoder.http())]).await;
    let mut config = CollectorConfig::flash(&encoder);
    config.picture = (320, 180, 25);
    config.url = caddy.url("");
    config.authority = Some(caddy.authority.clone());
    let _collector = CollectorProcess::start(&config);
    encoder.live("demo").await;

    // An endless stream arrives as it is made: nothing on the way keeps it back.
    let request = caddy.client().unwrap().get(caddy.url("/demo/webcast-high.flv"));
    let mut answer = request.send().await.unwrap();
    let mut got = Vec::new();
    while got.len() < 64 * 1024 {
        let chunk = tokio::time::timeout(UP, answer.chunk()).await;
        got.extend_from_slice(&chunk.expect("more of the stream in time").unwrap().unwrap());
    }
    let flv = encoder.directory().join("watched.flv");
    fs::write(&flv, got).unwrap();
    assert_eq!(probe::summary(&flv).await, ["audio aac", "video h264 320x180"]);

    let hls = encoder.directory().join("watched.ts");
    let line = format!("-i {} -t 2 -c copy {{}}", caddy.url("/demo/hls/index.m3u8"));
    tool::ffmpeg(&line, &[&hls]).await;
    assert!(probe::span(&probe::packets(&hls).await, "video") > 1.0);
}

/// The files of the encoder of an event that `backrow init` made as it comes, in a folder of their
/// own; and the event's.
async fn new_event(folder: &Path) -> (PathBuf, PathBuf) {
    let (event, out) = (folder.join("event"), folder.join("out"));
    let (dir, to) = (event.display().to_string(), out.display().to_string());
    let backrow = binary("backrow").display().to_string();
    tool::run(&backrow, &["init", &dir, "--host", "encoder.example.org"]).await;
    let said = tool::run(&backrow, &["check", &dir]).await;
    assert_eq!(said, b"event: 1 rooms, 2 machines, nothing wrong\n");
    tool::run(&backrow, &["render", &to, &dir]).await;
    (event, out.join("encoder"))
}

/// The password of a user in an event.
fn password(event: &Path, user: &str) -> String {
    let text = fs::read_to_string(event.join("event.secret.toml")).unwrap();
    let table = text.split_once(&format!("[browsers.{user}]\npassword = \"")).unwrap().1;
    table.split('"').next().unwrap().to_owned()
}

/// The broker as it is pushed, but for its places; and where it listens for Caddy.
async fn broker(files: &Path) -> (Process, SocketAddr) {
    let read = |path: &str| fs::read_to_string(files.join(path)).unwrap();
    let text = read("etc/mosquitto/conf.d/backrow-browsers.conf")
        + &read("etc/mosquitto/conf.d/backrow.conf");
    let place = files.join("etc/mosquitto/backrow").display().to_string();
    let text = text.replace("/etc/mosquitto/backrow", &place);
    for _ in 0..5 {
        let (devices, browsers) = (free_port(), free_port());
        let mut text = text.clone();
        for (from, to) in [("listener 8883", devices), ("listener 8084 127.0.0.1", browsers)] {
            assert!(text.contains(from), "{text}");
            text = text.replace(from, &format!("listener {} {}", to.port(), to.ip()));
        }
        if let Some(process) = mosquitto(files, &text, browsers).await {
            return (process, browsers);
        }
    }
    panic!("mosquitto found no free ports");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_events_pages_and_broker_are_reached_by_https() {
    let folder = tempfile::tempdir().unwrap();
    let (event, files) = new_event(folder.path()).await;
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let (_broker, browsers) = broker(&files).await;
    let site = fs::read_to_string(files.join("etc/caddy/Caddyfile")).unwrap();
    let moved = [(BEHIND, encoder.http()), ("127.0.0.1:8084", browsers)];
    let caddy = Caddy::start(&site, &moved).await;
    let page = caddy.client().unwrap().get(caddy.url("/demo/")).send().await.unwrap();
    assert!(page.status().is_success(), "{page:?}");

    let url = format!("wss://{}/mqtt", caddy.host);
    for (user, far) in [("operator", "orders"), ("dashboard", "no orders 135")] {
        let client = WebClient::with(user, &password(&event, user));
        assert_eq!(client.visits(&url, &caddy.authority).await, far, "{user}");
    }
    let wrong = WebClient::with("operator", &password(&event, "dashboard"));
    assert_eq!(wrong.visits(&url, &caddy.authority).await, "refused 135");
}
