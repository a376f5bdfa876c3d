//! A frame counter that a machine can read out of the picture, even after scaling to 240 lines
//! and lossy coding. Whole-system tests count frames with it.
//!
//! # Layout
//!
//! The top two ninths of the picture are a band of 2 rows × 16 cells, each a sixteenth of the
//! width and a ninth of the height. A white cell (luma 235) is 1, a black one (luma 16) is 0.
//!
//! ```text
//! column   0      1      2 … 13                       14       15
//! row 0    white  black  bits 23 … 12, highest first  parity   black
//! row 1    black  white  bits 11 … 0, highest first   parity   white
//! ```
//!
//! The parity cell makes the number of ones among its row's bits and itself odd. The six fixed
//! cells say what white and black are after coding, and that a band is there at all.

/// Cells in a row.
pub const COLUMNS: u32 = 16;
/// Rows of cells.
pub const ROWS: u32 = 2;
/// Height of the picture in cells.
pub const LINES: u32 = 9;
/// The counter wraps at this.
pub const MODULUS: u32 = 1 << 24;

const WHITE: u8 = 235;
const BLACK: u8 = 16;

/// The cells of one row, left to right; true is white.
fn row(counter: u32, row: u32) -> [bool; COLUMNS as usize] {
    let half = if row == 0 { (counter >> 12) & 0xfff } else { counter & 0xfff };
    let mut cells = [false; COLUMNS as usize];
    for (column, cell) in (0_u32..).zip(cells.iter_mut()) {
        *cell = match column {
            0 => row == 0,
            1 | 15 => row == 1,
            14 => half.count_ones().is_multiple_of(2),
            _ => (half >> (13 - column)) & 1 == 1,
        };
    }
    cells
}

/// Height of the band in lines, of a picture this high.
pub fn band(height: u32) -> u32 {
    height * ROWS / LINES
}

/// Draws the band into the luma plane of a picture. `stride` is the length of a line in bytes.
pub fn draw(counter: u32, luma: &mut [u8], stride: usize, width: u32, height: u32) {
    let edges: Vec<usize> = (0..=COLUMNS).map(|n| (width * n / COLUMNS) as usize).collect();
    for (y, line) in (0..band(height)).zip(luma.chunks_mut(stride.max(1))) {
        let cells = row(counter % MODULUS, y * LINES / height.max(1));
        for (edge, white) in edges.windows(2).zip(cells) {
            if let [from, to] = *edge
                && let Some(cell) = line.get_mut(from..to)
            {
                cell.fill(if white { WHITE } else { BLACK });
            }
        }
    }
}

/// Mean luma of the middle of a cell.
fn cell(luma: &[u8], stride: usize, width: u32, height: u32, column: u32, row: u32) -> Option<u32> {
    let middle = |size: u32, n: u32, parts: u32| {
        let (from, to) = (size * n / parts, size * (n + 1) / parts);
        let quarter = (to - from) / 4;
        (from + quarter, (to - quarter).max(from + quarter + 1))
    };
    let (left, right) = middle(width, column, COLUMNS);
    let (top, bottom) = middle(height, row, LINES);
    let (mut sum, mut count) = (0_u32, 0_u32);
    for y in top..bottom {
        let start = y as usize * stride;
        let line = luma.get(start + left as usize..start + right as usize)?;
        sum = line.iter().fold(sum, |sum, &luma| sum + u32::from(luma));
        count += right - left;
    }
    sum.checked_div(count)
}

/// Reads the counter from a luma plane whose lines follow one another without padding.
/// None when there is no band or a cell is in doubt.
pub fn read(luma: &[u8], width: u32, height: u32) -> Option<u32> {
    read_strided(luma, width as usize, width, height)
}

/// As [`read`], for lines of `stride` bytes.
pub fn read_strided(luma: &[u8], stride: usize, width: u32, height: u32) -> Option<u32> {
    let at = |column, row| cell(luma, stride, width, height, column, row);
    let whites = [at(0, 0)?, at(1, 1)?, at(15, 1)?];
    let blacks = [at(1, 0)?, at(0, 1)?, at(15, 0)?];
    let (white, black) = (*whites.iter().min()?, *blacks.iter().max()?);
    if white < black + 64 {
        return None;
    }
    let (middle, doubt) = ((white + black) / 2, (white - black) / 8);
    let mut counter = 0;
    for row in 0..ROWS {
        let mut ones = 0;
        for column in 2..=14 {
            let luma = at(column, row)?;
            if luma.abs_diff(middle) < doubt {
                return None;
            }
            let bit = u32::from(luma > middle);
            ones += bit;
            if column < 14 {
                counter = counter << 1 | bit;
            }
        }
        if ones % 2 == 0 {
            return None;
        }
    }
    Some(counter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picture(counter: u32, width: u32, height: u32) -> Vec<u8> {
        let mut luma = vec![80; (width * height) as usize];
        draw(counter, &mut luma, width as usize, width, height);
        luma
    }

    /// Box-filters to another size, as a rough scaler does.
    fn scale(luma: &[u8], (w, h): (u32, u32), (to_w, to_h): (u32, u32)) -> Vec<u8> {
        let mut out = Vec::new();
        for y in 0..to_h {
            for x in 0..to_w {
                let (x0, x1) = (x * w / to_w, ((x + 1) * w / to_w).max(x * w / to_w + 1));
                let (y0, y1) = (y * h / to_h, ((y + 1) * h / to_h).max(y * h / to_h + 1));
                let (mut sum, mut count) = (0_u32, 0_u32);
                for y in y0..y1 {
                    for x in x0..x1 {
                        sum += u32::from(luma[(y * w + x) as usize]);
                        count += 1;
                    }
                }
                out.push((sum / count) as u8);
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_drawn_is_read(counter in 0..MODULUS, width in 160_u32..1400, height in 90_u32..800) {
            prop_assert_eq!(read(&picture(counter, width, height), width, height), Some(counter));
        }

        #[test]
        fn it_survives_scaling_to_240_lines_and_noise(
            counter in 0..MODULUS, seed in any::<u32>(), amplitude in 1_u32..40,
        ) {
            let small = scale(&picture(counter, 1280, 720), (1280, 720), (426, 240));
            let mut state = seed | 1;
            let noisy: Vec<u8> = small.into_iter().map(|luma| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 16) % (2 * amplitude + 1);
                (u32::from(luma) + noise).saturating_sub(amplitude).min(255) as u8
            }).collect();
            prop_assert_eq!(read(&noisy, 426, 240), Some(counter));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..4000), width in 0_u32..100, height in 0_u32..100,
        ) {
            let _ = read(&bytes, width, height);
        }
    }

    #[test]
    fn a_picture_without_a_band_gives_nothing() {
        assert_eq!(read(&vec![16; 426 * 240], 426, 240), None);
        assert_eq!(read(&vec![235; 426 * 240], 426, 240), None);
    }

    #[test]
    fn a_half_mixed_picture_is_refused() {
        let (a, b) = (picture(5, 320, 180), picture(6, 320, 180));
        let mixed: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a.midpoint(*b)).collect();
        assert_eq!(read(&mixed, 320, 180), None);
    }
}
