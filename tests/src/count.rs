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

    /// Checks that the burnt-in numbers run on by one from picture to picture, and returns the
    /// first and the last.
    ///
    /// # Panics
    /// With what is missing, doubled or unreadable.
    pub fn assert_none_missing_none_twice(&self, what: &str) -> (u32, u32) {
        let counters = self.counters();
        let unreadable = counters.iter().filter(|counter| counter.is_none()).count();
        assert_eq!(
            unreadable,
            0,
            "{what}: {unreadable} of {} pictures have no readable number",
            counters.len()
        );
        let counters: Vec<u32> = counters.into_iter().flatten().collect();
        for pair in counters.windows(2) {
            assert_eq!(
                pair[1],
                pair[0] + 1,
                "{what}: picture {} is followed by {}",
                pair[0],
                pair[1]
            );
        }
        (counters[0], counters[counters.len() - 1])
    }
}
