//! Scaling: each size is made once a frame, from the nearest larger one, and shared by all
//! renditions of that size.

use std::collections::HashMap;

use gst_video::{VideoFormat, VideoInfo, prelude::*};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::geometry::Size;

struct Step {
    /// One for luma, one for both planes of chroma.
    planes: [scale::Scaler; 2],
    info: VideoInfo,
    pool: gst::BufferPool,
}

/// Converters and buffers for one source; a new source wants a new one.
pub(crate) struct Scaler {
    source: VideoInfo,
    steps: HashMap<(Size, Size), Step>,
}

/// How a picture of this size is described.
pub(crate) fn info(size: Size, like: &VideoInfo) -> Result<VideoInfo, String> {
    VideoInfo::builder(VideoFormat::I420, size.width, size.height)
        .fps(like.fps())
        .par(gst::Fraction::new(1, 1))
        .colorimetry(&like.colorimetry())
        .build()
        .map_err(|_| format!("{size} is no size for a picture"))
}

/// A source's stored size.
pub(crate) fn stored(info: &VideoInfo) -> Size {
    Size { width: info.width(), height: info.height() }
}

impl Scaler {
    /// For a source like this.
    pub(crate) fn new(source: VideoInfo) -> Self {
        Self { source, steps: HashMap::new() }
    }

    /// The source's stored size.
    pub(crate) fn size(&self) -> Size {
        stored(&self.source)
    }

    /// One frame at another size.
    pub(crate) fn scale(
        &mut self,
        from: Size,
        frame: &gst::Buffer,
        to: Size,
    ) -> Result<gst::Buffer, String> {
        let source = if from == stored(&self.source) {
            VideoInfo::builder(VideoFormat::I420, from.width, from.height)
                .fps(self.source.fps())
                .par(self.source.par())
                .colorimetry(&self.source.colorimetry())
                .build()
                .map_err(|_| format!("{from} is no size for a picture"))?
        } else {
            info(from, &self.source)?
        };
        let step = match self.steps.entry((from, to)) {
            std::collections::hash_map::Entry::Occupied(step) => step.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Step::new(&source, info(to, &self.source)?)?)
            }
        };
        let failed = || format!("cannot scale a picture from {from} to {to}");
        let mut out = step.pool.acquire_buffer(None).map_err(|_| failed())?;
        {
            let out = out.get_mut().ok_or_else(failed)?;
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(frame, &source)
                .map_err(|_| failed())?;
            {
                let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(out, &step.info)
                    .map_err(|_| failed())?;
                step.run(&from, &mut to).ok_or_else(failed)?;
            }
            out.set_pts(frame.pts());
            out.set_duration(frame.duration());
        }
        Ok(out)
    }
}

impl Step {
    fn new(from: &VideoInfo, to: VideoInfo) -> Result<Self, String> {
        let plane = |shift: u32| {
            let part = |size: u32| size.div_ceil(1 << shift) as usize;
            let size = |info: &VideoInfo| (part(info.width()), part(info.height()));
            scale::Scaler::new(size(from), size(&to)).ok_or("no scaler: a picture without size")
        };
        let planes = [plane(0)?, plane(1)?];
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        let caps = to.to_caps().map_err(|e| format!("no scaler: {e}"))?;
        config.set_params(Some(&caps), u32::try_from(to.size()).unwrap_or(0), 0, 0);
        pool.set_config(config).map_err(|e| format!("no scaler: {e}"))?;
        pool.set_active(true).map_err(|e| format!("no scaler: {e}"))?;
        Ok(Self { planes, info: to, pool })
    }

    fn run(
        &mut self,
        from: &gst_video::VideoFrameRef<&gst::BufferRef>,
        to: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Option<()> {
        for plane in 0..3_u32 {
            let index = plane as usize;
            let stride = |strides: &[i32]| usize::try_from(*strides.get(index)?).ok();
            let (source_stride, target_stride) =
                (stride(from.plane_stride())?, stride(to.plane_stride())?);
            let [luma, chroma] = &mut self.planes;
            let scaler = if plane == 0 { luma } else { chroma };
            let (source, target) = (from.plane_data(plane).ok()?, to.plane_data_mut(plane).ok()?);
            scaler.scale(source, source_stride, target, target_stride)?;
        }
        Some(())
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let _ = self.pool.set_active(false);
    }
}
