//! Suggestions for unknown keys: the known key that was probably meant.

/// Returns the message of a TOML error, with the known name that is nearest to an unknown one.
pub(super) fn explain(error: &toml::de::Error) -> String {
    let message = error.to_string().trim_end().to_owned();
    match nearest(error.message()) {
        Some(known) => format!("{message}\ndid you mean `{known}`?"),
        None => message,
    }
}

/// Finds the expected name that is nearest to the name in an error message, such as
/// ``unknown field `stepz`, expected one of `steps`, `seed` ``.
fn nearest(message: &str) -> Option<&str> {
    let (found, expected) = message.split_once(", expected ")?;
    let is_name = found.starts_with("unknown field ") || found.starts_with("unknown variant ");
    let found = quoted(found).next().filter(|_| is_name)?;
    let distance = |known: &&str| strsim::damerau_levenshtein(found, known);
    // Beyond this distance, a guess would be misleading.
    quoted(expected).min_by_key(distance).filter(|known| distance(known) <= 1 + found.chars().count() / 3)
}

/// Returns the parts of a text that are enclosed in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_name_is_found_where_it_is_near() {
        let message = "unknown field `learning_rat`, expected one of `learning_rate`, `beta_1`, `beta_2`";
        assert_eq!(nearest(message), Some("learning_rate"));
        assert_eq!(nearest("unknown variant `cosin`, expected `constant` or `cosine`"), Some("cosine"));
        assert_eq!(nearest("unknown field `colour`, expected one of `learning_rate`, `beta_1`"), None);
        assert_eq!(nearest("unknown field `x`, there are no fields"), None);
        assert_eq!(nearest("invalid type: string \"many\", expected u64"), None);
    }
}
