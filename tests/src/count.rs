//! Reads the frame counter that the collector's flash source burns into each picture, and
//! checks that no picture is missing and none comes twice.

use crate::measure::Pictures;

impl Pictures {
    /// The burnt-in number of each picture; `None` where it cannot be read.
    pub fn counters(&self) -> Vec<Option<u32>> {
        self.frames
            .iter()
            .map(|frame| collector::capture::counter::read(&frame.luma, self.width, self.height))
            .collect()
    }

    /// The first and the last burnt-in number, when they run on by one from picture to picture.
    ///
    /// # Errors
    /// What is missing, doubled or unreadable, in words.
    pub fn count(&self) -> Result<(u32, u32), String> {
        let counters = self.counters();
        let unreadable = counters.iter().filter(|counter| counter.is_none()).count();
        if unreadable > 0 {
            let all = counters.len();
            return Err(format!("{unreadable} of {all} pictures have no readable number"));
        }
        let counters: Vec<u32> = counters.into_iter().flatten().collect();
        let jump = counters.windows(2).find(|pair| pair[1] != pair[0].wrapping_add(1));
        match (jump, counters.first(), counters.last()) {
            (Some(pair), ..) => Err(format!("picture {} is followed by {}", pair[0], pair[1])),
            (None, Some(first), Some(last)) => Ok((*first, *last)),
            _ => Err("there are no pictures".to_owned()),
        }
    }

    /// The same as [`Pictures::count`], as a demand.
    ///
    /// # Panics
    /// With what is missing, doubled or unreadable.
    pub fn assert_none_missing_none_twice(&self, what: &str) -> (u32, u32) {
        self.count().unwrap_or_else(|error| panic!("{what}: {error}"))
    }
}
