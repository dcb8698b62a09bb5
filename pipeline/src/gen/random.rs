//! Seeded randomness: a small generator, fixed traits and a skewed choice.

/// SplitMix64. Written out here because generated files must never change with a dependency.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scramble(self.0)
    }

    /// A number from 0 to `bound` - 1; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A trait that a user, an ad or an advertiser keeps for good.
pub(super) fn hash(id: u64, what: &str) -> u64 {
    let salt = what.bytes().fold(0xCBF2_9CE4_8422_2325, |salt: u64, byte| {
        (salt ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    scramble(id.wrapping_add(salt))
}

pub(super) fn pick<T: Copy>(choices: &[T], bits: u64) -> T {
    choices[(bits % choices.len() as u64) as usize]
}

/// Ranks from 0 to `count` - 1 with density 1/(rank + shift)^exponent, by inversion: no table.
pub(super) struct Zipf {
    power: f64,
    low: f64,
    high: f64,
    shift: f64,
    last: u32,
}

impl Zipf {
    /// The exponent must not be 1.
    pub fn new(count: u32, exponent: f64, shift: f64) -> Self {
        let power = 1.0 - exponent;
        Self {
            power,
            low: shift.powf(power),
            high: (shift + f64::from(count)).powf(power),
            shift,
            last: count.saturating_sub(1),
        }
    }

    pub fn rank(&self, random: &mut Random) -> u32 {
        let area = self.low + random.unit() * (self.high - self.low);
        let rank = area.powf(1.0 / self.power) - self.shift;
        (rank as u32).min(self.last)
    }
}
