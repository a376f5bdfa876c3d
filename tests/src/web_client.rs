//! What the dashboard says to a broker, by its own library, outside a browser: the handshake is the
//! same.

use std::path::{Path, PathBuf};

use crate::tool;

/// Connects; hears, if there is something to hear; gives an order; and says how far it came.
const SCRIPT: &str = r#"
    const { createRequire } = await import("node:module");
    const { readFileSync } = await import("node:fs");
    const [, web, url, ca, username, password, certificate, key, hear] = process.argv;
    const mqtt = createRequire(web)("mqtt");
    const file = (name) => (name ? readFileSync(name) : undefined);
    const client = mqtt.connect(url, {
      protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 50000, ca: file(ca),
      cert: file(certificate), key: file(key),
      ...(username ? { username, password } : {}),
    });
    const end = (text) => { console.log(text); process.exit(0); };
    const order = () => client.publish("backrow/hall-1/command", "x", { qos: 1 }, (error) =>
      end(error ? `no orders ${error.code}` : "orders"));
    client.on("error", (error) => end(`refused ${error.code}`));
    client.on("message", order);
    client.on("connect", () => (hear ? client.subscribe(hear) : order()));
"#;

/// Somebody at a browser.
#[derive(Debug, Default, Clone)]
pub struct WebClient {
    /// User and password.
    pub login: Option<(String, String)>,
    /// Files of a certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Something must be heard on this topic before an order is given.
    pub hear: Option<String>,
    /// What it is run by, with arguments before its own; else by itself.
    pub by: Option<(&'static str, Vec<String>)>,
}

/// Runs the script.
const NODE: &str = "node";

impl WebClient {
    /// With a password.
    pub fn with(user: &str, password: &str) -> Self {
        Self { login: Some((user.to_owned(), password.to_owned())), ..Self::default() }
    }

    /// How far it comes at the broker at `url`, whose certificate `authority` signed: `orders`,
    /// `no orders CODE`, `refused CODE`. 135 is MQTT's "not authorized".
    ///
    /// # Panics
    /// When it comes to no end.
    pub async fn visits(&self, url: &str, authority: &Path) -> String {
        let web = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/package.json");
        let (user, password) = self.login.clone().unwrap_or_default();
        let (certificate, key) = self.certificate.clone().unwrap_or_default();
        let file = |path: &Path| path.display().to_string();
        let (authority, certificate, key) = (file(authority), file(&certificate), file(&key));
        let (program, mut args) = self.by.clone().unwrap_or((NODE, Vec::new()));
        let own = ["--input-type=module", "-e", SCRIPT, web, url, &authority, &user, &password];
        let hear = self.hear.as_deref().unwrap_or_default();
        args.extend(own.into_iter().chain([certificate.as_str(), &key, hear]).map(str::to_owned));
        let said = tool::run(program, &args).await;
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}
