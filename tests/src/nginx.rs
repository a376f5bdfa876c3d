//! A real RTMP server that is not ours: nginx with its RTMP module.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::free_port;
use crate::process::{Launch, Process};
use crate::until;

/// Where Debian's `libnginx-mod-rtmp` puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A running nginx with the RTMP application `live`.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    process: Process,
    _directory: TempDir,
}

impl Nginx {
    /// Starts nginx on a free port.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        for _ in 0..5 {
            let address = free_port();
            let nginx = Self::start_on(address);
            let up = until(Duration::from_secs(60), "nginx to listen", async || {
                if !nginx.process.is_running() {
                    return Some(false);
                }
                TcpStream::connect(address).is_ok().then_some(true)
            })
            .await;
            if up && nginx.process.is_running() {
                return nginx;
            }
        }
        panic!("nginx found no free port");
    }

    fn start_on(address: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().display();
        let text = format!(
            "load_module {MODULE};\ndaemon off;\nmaster_process off;\npid {home}/pid;\n\
             error_log stderr info;\nevents {{ worker_connections 64; }}\n\
             rtmp {{ server {{ listen {address}; application live {{ live on; }} }} }}\n"
        );
        let config = directory.path().join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let launch = Launch::new("nginx")
            .args(["-e".to_owned(), "stderr".to_owned()])
            .args(["-p".to_owned(), home.to_string()])
            .args(["-c".to_owned(), config.display().to_string()])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let process = Process::start("nginx", launch, &directory.path().join("log"));
        Self { address, process, _directory: directory }
    }

    /// The URL of stream `key`, to publish to and to play from.
    pub fn url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.address)
    }
}
