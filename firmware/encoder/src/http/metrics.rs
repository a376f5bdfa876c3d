//! `GET /metrics`: OpenMetrics text. Counters are kept here; gauges are read from the rooms and the
//! moods when somebody asks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use protocol::mood::Mood;
use protocol::names::RoomName;

use super::state::Shared;

/// What kind of HLS file was served.
#[derive(Debug, Clone, Copy)]
pub(super) enum Served {
    Playlist,
    Init,
    Segment,
}

/// What was sent.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    Hls(Served),
    Mount(String),
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SentLabels {
    room: String,
    what: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

/// What has happened since the process began.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    bytes: Family<SentLabels, Counter>,
    files: Family<SentLabels, Counter>,
    refused: Family<ReasonLabel, Counter>,
    ingest: Family<StatusLabel, Counter>,
}

impl Counters {
    /// Counts one HLS file of `bytes`.
    pub(super) fn sent(&self, room: &RoomName, what: Sent, bytes: usize) {
        let labels = labels(room, what);
        self.files.get_or_create(&labels).inc();
        self.bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    /// The byte counter of a stream.
    pub(super) fn counter(&self, room: &RoomName, what: Sent) -> Counter {
        self.bytes.get_or_create_owned(&labels(room, what))
    }

    /// Bytes sent so far of something.
    pub(super) fn bytes(&self, room: &RoomName, what: Sent) -> u64 {
        self.counter(room, what).get()
    }

    /// Counts an answer to a collector.
    pub(super) fn ingest(&self, status: StatusCode) {
        self.ingest.get_or_create(&StatusLabel { status: status.as_u16() }).inc();
    }

    /// Counts a client that was sent away.
    pub(super) fn refused(&self, reason: &str) {
        self.refused.get_or_create(&ReasonLabel { reason: reason.to_owned() }).inc();
    }
}

fn labels(room: &RoomName, what: Sent) -> SentLabels {
    let what = match what {
        Sent::Hls(Served::Playlist) => "hls-playlist".to_owned(),
        Sent::Hls(Served::Init) => "hls-init".to_owned(),
        Sent::Hls(Served::Segment) => "hls-segment".to_owned(),
        Sent::Mount(name) => name,
    };
    SentLabels { room: room.to_string(), what }
}

/// `GET /metrics`
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut registry = Registry::with_prefix("backrow");
    let counters = &shared.counters;
    registry.register_with_unit(
        "sent",
        "Bytes sent to viewers",
        Unit::Bytes,
        counters.bytes.clone(),
    );
    registry.register("files_sent", "HLS files sent", counters.files.clone());
    registry.register("refused", "Viewers sent away", counters.refused.clone());
    registry.register(
        "ingest_answers",
        "Answers to collectors, by HTTP status",
        counters.ingest.clone(),
    );
    registry.register_collector(Box::new(Gauges(Arc::clone(&shared))));
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
        tracing::error!(%error, "cannot write the metrics");
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], text).into_response()
}

/// What is now, read when it is asked for.
struct Gauges(Arc<Shared>);

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauges")
    }
}

impl prometheus_client::collector::Collector for Gauges {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let shared = &self.0;
        let mut encoder = encoder;
        let mut live = encoder.gauge("room_live", "Whether media arrives for the room")?;
        for room in shared.rooms.iter() {
            let value = i64::from(room.status().live);
            gauge(&mut live, &[("room", room.name.as_str())], value)?;
        }
        let mut viewers = encoder.gauge("viewers", "Who watches now")?;
        for room in shared.rooms.iter() {
            let kinds = [
                ("hls", shared.hls_viewers(room)),
                ("progressive", shared.progressive_viewers(room)),
            ];
            for (kind, count) in kinds {
                let labels = [("room", room.name.as_str()), ("kind", kind)];
                gauge(&mut viewers, &labels, i64::try_from(count).unwrap_or(i64::MAX))?;
            }
        }
        let mut clients = encoder.gauge("mount_clients", "Clients of a progressive stream")?;
        for room in shared.rooms.iter() {
            for name in room.mounts.keys() {
                let labels = [("room", room.name.as_str()), ("mount", name.as_str())];
                let count = i64::try_from(shared.clients(room, name)).unwrap_or(i64::MAX);
                gauge(&mut clients, &labels, count)?;
            }
        }
        let mut newest = encoder.gauge("hls_newest_segment", "Number of the newest segment")?;
        for room in shared.rooms.iter() {
            if let Some(edge) = room.hls.live_edge() {
                let number = i64::try_from(edge.msn).unwrap_or(i64::MAX);
                gauge(&mut newest, &[("room", room.name.as_str())], number)?;
            }
        }
        let now = shared.clock.utc().as_millisecond();
        let mut age = encoder.encode_descriptor(
            "hls_edge_age",
            "Time since the last picture in HLS was taken, by the collector's clock",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for room in shared.rooms.iter() {
            if let Some(edge) = room.hls.live_edge() {
                let seconds = now.saturating_sub(edge.utc_ms) as f64 / 1000.0;
                let labels = [("room", room.name.as_str())];
                ConstGauge::new(seconds).encode(age.encode_family(&labels)?)?;
            }
        }
        let board = shared.board.snapshot();
        let mut moods = encoder.gauge("component_mood", "1 for the mood that a component has")?;
        for (name, status) in &board {
            for mood in Mood::ALL {
                let labels = [("component", name.as_str()), ("mood", mood.as_str())];
                gauge(&mut moods, &labels, i64::from(mood == status.mood))?;
            }
        }
        let mut restarts = encoder.encode_descriptor(
            "component_restarts",
            "Times that a component was restarted",
            None,
            MetricType::Counter,
        )?;
        for (name, status) in &board {
            let labels = [("component", name.as_str())];
            ConstCounter::new(status.restarts).encode(restarts.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

trait Describe {
    fn gauge<'a>(
        &'a mut self,
        name: &'a str,
        help: &str,
    ) -> Result<MetricEncoder<'a>, std::fmt::Error>;
}

impl Describe for DescriptorEncoder<'_> {
    fn gauge<'a>(
        &'a mut self,
        name: &'a str,
        help: &str,
    ) -> Result<MetricEncoder<'a>, std::fmt::Error> {
        self.encode_descriptor(name, help, None, MetricType::Gauge)
    }
}

fn gauge(
    family: &mut MetricEncoder<'_>,
    labels: &[(&'static str, &str)],
    value: i64,
) -> Result<(), std::fmt::Error> {
    ConstGauge::new(value).encode(family.encode_family(&labels)?)
}
