//! Picture sizes: what each rendition gets from a source of a given size. Pure.

/// A picture's size in pixels, and the shape of its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// Stored width in pixels.
    pub width: u32,
    /// Stored height in pixels.
    pub height: u32,
    /// Pixel aspect ratio, width : height; 1:1 for square.
    pub pixel: (u32, u32),
}

/// A size to make, in square pixels; both sides even, as 4:2:0 wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Size {
    /// Height first, so that sizes order by it.
    pub height: u32,
    /// Width.
    pub width: u32,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The even number nearest to `n / d`, at least 2.
fn even(n: u64, d: u64) -> u32 {
    let (n, d) = (u128::from(n), u128::from(d.max(1)));
    let nearest = (n + d) / (2 * d) * 2;
    u32::try_from(nearest).unwrap_or(u32::MAX - 1).max(2)
}

impl Source {
    fn display_width(&self) -> u64 {
        let (n, d) = (u64::from(self.pixel.0.max(1)), u64::from(self.pixel.1.max(1)));
        (u64::from(self.width) * n + d / 2) / d
    }

    /// Whether the stored picture can be used as it is at full size.
    fn is_plain(&self) -> bool {
        self.pixel.0 == self.pixel.1
            && self.width.is_multiple_of(2)
            && self.height.is_multiple_of(2)
    }

    /// The size at `height`, keeping the aspect.
    fn at_height(&self, height: u32) -> Size {
        let (own, height) = (self.height.into(), u64::from(height));
        Size { width: even(self.display_width() * height, own), height: even(height, 1) }
    }

    /// A ladder rung `height` high; `None` when it would not be smaller than the source.
    pub(crate) fn rung(&self, height: u32) -> Option<Size> {
        (even(height.into(), 1) < self.height).then(|| self.at_height(height))
    }

    /// The source's size when it is at most `height` high, else scaled to that.
    pub(crate) fn at_most(&self, height: u32) -> Size {
        if self.height > height {
            self.at_height(height)
        } else if self.is_plain() {
            Size { width: self.width, height: self.height }
        } else {
            self.at_height(self.height)
        }
    }

    /// The largest size within a box that keeps the aspect; never larger than the source.
    pub(crate) fn within(&self, width: u32, height: u32) -> Size {
        let size = self.at_most(height);
        if size.width <= width {
            return size;
        }
        let height = u64::from(self.height) * u64::from(width);
        Size { width, height: even(height, self.display_width()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HD: Source = Source { width: 1280, height: 720, pixel: (1, 1) };

    #[test]
    fn usual_sizes() {
        assert_eq!(HD.rung(480).unwrap().to_string(), "854x480");
        assert_eq!(HD.rung(240).unwrap().to_string(), "426x240");
        assert_eq!(HD.at_most(720).to_string(), "1280x720");
        assert_eq!(HD.at_most(360).to_string(), "640x360");
        assert_eq!(HD.within(320, 240).to_string(), "320x180");
    }

    #[test]
    fn a_rung_not_smaller_than_the_source_is_left_out() {
        assert_eq!(HD.rung(720), None);
        assert_eq!(HD.rung(1080), None);
    }

    #[test]
    fn dv_becomes_square() {
        let pal = Source { width: 720, height: 576, pixel: (16, 15) };
        assert_eq!(pal.at_most(720).to_string(), "768x576");
        assert_eq!(pal.rung(480).unwrap().to_string(), "640x480");
    }

    #[test]
    fn tall_and_odd_pictures() {
        let tall = Source { width: 720, height: 1280, pixel: (1, 1) };
        assert_eq!(tall.rung(480).unwrap().to_string(), "270x480");
        assert_eq!(tall.within(320, 240).to_string(), "136x240");
        let odd = Source { width: 641, height: 271, pixel: (1, 1) };
        assert_eq!(odd.at_most(720).to_string(), "642x272");
    }

    proptest! {
        #[test]
        fn always_even_and_near_the_aspect(
            width in 2u32..8000, height in 2u32..5000, n in 1u32..100, d in 1u32..100, want in 2u32..2000,
        ) {
            let source = Source { width, height, pixel: (n, d) };
            for size in [source.rung(want), Some(source.at_most(want)), Some(source.within(320, 240))].into_iter().flatten() {
                prop_assert!(size.width % 2 == 0 && size.height % 2 == 0 && size.width > 0 && size.height > 0);
            }
            if let Some(size) = source.rung(want) {
                prop_assert!(size.height < height);
                let exact = f64::from(width) * f64::from(n) / f64::from(d) * f64::from(want) / f64::from(height);
                prop_assert!((f64::from(size.width) - exact).abs() <= 2.0 + exact * 0.01, "{size} for {exact}");
            }
        }
    }
}
