//! Which channels of the sound are kept, on interleaved 16-bit stereo.
//!
//! The usual venue set-up puts the mixing desk on one channel and the camera's microphone on the
//! other; the desk's is kept and heard on both sides.

use super::args::Channels;

/// One frame of sound with the choice applied.
pub fn choose([left, right]: [i16; 2], channels: Channels) -> [i16; 2] {
    match channels {
        Channels::Stereo => [left, right],
        Channels::Left => [left, left],
        Channels::Right => [right, right],
        Channels::Mix => {
            // The mean of two 16-bit numbers always fits.
            let mean = ((i32::from(left) + i32::from(right)) / 2) as i16;
            [mean, mean]
        }
        Channels::Swap => [right, left],
    }
}

/// The stereo frames of little-endian bytes; a torn last frame is left out.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = [i16; 2]> + '_ {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&[a, b, c, d]| [i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])])
}

/// Applies the choice in place.
pub fn apply(bytes: &mut [u8], channels: Channels) {
    for frame in bytes.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *frame;
        let [left, right] =
            choose([i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])], channels);
        let ([a, b], [c, d]) = (left.to_le_bytes(), right.to_le_bytes());
        *frame = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice() {
        let frame = [100, -300];
        assert_eq!(choose(frame, Channels::Stereo), [100, -300]);
        assert_eq!(choose(frame, Channels::Left), [100, 100]);
        assert_eq!(choose(frame, Channels::Right), [-300, -300]);
        assert_eq!(choose(frame, Channels::Mix), [-100, -100]);
        assert_eq!(choose(frame, Channels::Swap), [-300, 100]);
        assert_eq!(choose([i16::MIN; 2], Channels::Mix), [i16::MIN; 2]);
    }

    #[test]
    fn bytes_are_changed_in_place_and_a_torn_frame_is_left() {
        let mut bytes = [1, 0, 2, 0, 3, 0, 4, 0, 9, 9];
        apply(&mut bytes, Channels::Swap);
        assert_eq!(bytes, [2, 0, 1, 0, 4, 0, 3, 0, 9, 9]);
        assert_eq!(frames(&bytes).collect::<Vec<_>>(), [[2, 1], [4, 3]]);
    }
}
