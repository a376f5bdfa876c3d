//! The provider's mirror of Debian, and a place for our packages: files of two folders by HTTP.

use std::path::PathBuf;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use backrow_tests::machine::HOST;

use crate::rented::made;

/// A server of this machine.
#[derive(Debug)]
pub(crate) struct Mirror {
    port: u16,
    task: JoinHandle<()>,
}

impl Mirror {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let folders = vec![made("mirror"), made("packages")];
        let app = Router::new().route("/{*file}", get(file)).with_state(folders);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { port, task }
    }

    /// The URL of a file, as a rented machine sees it.
    pub(crate) fn url(&self, file: &str) -> String {
        format!("http://{HOST}:{}/{file}", self.port)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn file(
    State(folders): State<Vec<PathBuf>>,
    Path(name): Path<String>,
) -> Result<Vec<u8>, StatusCode> {
    // apt asks for `./Packages`.
    let name = name.rsplit('/').next().unwrap_or_default();
    let found = folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    let found = found.ok_or(StatusCode::NOT_FOUND)?;
    tokio::fs::read(found).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
