//! Durations such as `2m` in experiment files.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(super) fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(time.unwrap_or_default()))
}

/// Parses a duration such as `90s`, `10m` or `1h30m`.
///
/// # Errors
///
/// Returns an error that states what is wrong with the text and which form is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("expected a time such as 90s, 10m or 1h30m: {error}"))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map(Some).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
}
