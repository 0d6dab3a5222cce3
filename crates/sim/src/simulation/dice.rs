//! Numbers that look random and are the same for the same seed (xorshift64*, Vigna 2016).

use std::time::Duration;

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The sequence of that seed.
    pub(super) fn new(seed: u64) -> Dice {
        // Neighbouring seeds shall not begin alike, and zero is no state of the generator.
        Dice((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xD129_0D3F_3A6B_4C25) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// One of 0 to `below - 1`.
    pub(super) fn below(&mut self, below: usize) -> usize {
        let below = u64::try_from(below.max(1)).unwrap_or(u64::MAX);
        usize::try_from((self.next() >> 16) % below).unwrap_or(0)
    }

    /// True once in that many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A time from `least` to `most` milliseconds.
    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        let span = usize::try_from(most.saturating_sub(least)).unwrap_or(0) + 1;
        Duration::from_millis(least + u64::try_from(self.below(span)).unwrap_or(0))
    }

    /// One of them.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}
