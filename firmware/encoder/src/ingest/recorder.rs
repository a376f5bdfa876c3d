//! The archive of a publisher who does not send segments: its tags are cut into segments here.

use std::sync::Arc;

use flv::Tag;
use flv::segmenter::{Options, SegmentEvent, Segmenter};
use protocol::names::SessionId;
use tokio_util::task::TaskTracker;

use crate::archive::SegmentWriter;
use crate::room::Room;

/// A keyframe sooner than this does not begin a segment, milliseconds: some encoders send many.
const MIN_SEGMENT_MS: u32 = 1000;

/// One session's recording.
#[derive(Debug)]
pub(super) struct Recorder {
    room: Arc<Room>,
    session: SessionId,
    segmenter: Segmenter,
    writer: Option<SegmentWriter>,
    /// Segments on their way to being durable.
    finishing: TaskTracker,
}

impl Recorder {
    pub(super) fn new(room: Arc<Room>, session: SessionId, finishing: TaskTracker) -> Self {
        let options = Options { min_ms: MIN_SEGMENT_MS, ..Options::default() };
        let mut segmenter = Segmenter::new(options);
        segmenter.set_room(room.name.as_str());
        Self { room, session, segmenter, writer: None, finishing }
    }

    /// Takes the next tag, which came at `utc_ms`.
    pub(super) async fn push(&mut self, tag: Tag, utc_ms: i64) {
        self.segmenter.set_wallclock(utc_ms);
        let events = self.segmenter.push(tag);
        self.handle(events).await;
    }

    /// The stream has ended.
    pub(super) async fn finish(mut self) {
        let events = self.segmenter.finish();
        self.handle(events).await;
    }

    async fn handle(&mut self, events: Vec<SegmentEvent>) {
        for event in events {
            match event {
                SegmentEvent::Start { seq, header, .. } => {
                    match self.room.archive.create(self.session, seq).await {
                        Ok(mut writer) => {
                            writer.tags(&header).await;
                            self.writer = Some(writer);
                        }
                        // This segment is lost to the archive; live goes on.
                        Err(error) => self.room.desk.recorded(Err(&error)),
                    }
                }
                SegmentEvent::Data(bytes) => {
                    if let Some(writer) = &mut self.writer {
                        writer.tags(&bytes).await;
                    }
                }
                SegmentEvent::End { .. } => {
                    let Some(writer) = self.writer.take() else { continue };
                    let room = Arc::clone(&self.room);
                    // Syncing takes its time, and the next tag does not wait for it.
                    self.finishing.spawn(async move {
                        match writer.finish().await {
                            Ok(_) => room.desk.recorded(Ok(())),
                            Err(error) => room.desk.recorded(Err(&error)),
                        }
                    });
                }
            }
        }
    }
}
