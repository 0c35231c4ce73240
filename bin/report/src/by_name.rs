//! Pairs of names and values as an object of JSON in their order, for serde's `with`.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer, T: Serialize>(
    pairs: &[(String, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// Of numbers, where `null` stands for NaN.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, f64)>, D::Error> {
    deserializer.deserialize_map(Numbers)
}

struct Numbers;

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<(String, f64)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, value)) = map.next_entry::<_, Option<f64>>()? {
            pairs.push((name, value.unwrap_or(f64::NAN)));
        }
        Ok(pairs)
    }
}
