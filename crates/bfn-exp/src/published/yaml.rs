//! YAML as OmegaConf reads it: YAML 1.1 as in PyYAML, but `1e-6` and the like are numbers, and times are text.

use anyhow::{Context, Result, bail, ensure};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

/// The maximum depth of nested tables and lists; the published files are five deep.
const DEEPEST: usize = 32;

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    /// The line, counted from 1.
    pub(super) line: usize,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nothing,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let root = loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::StreamEnd, _) => bail!("the file is empty"),
            (event, span) => break reader.node(event, span, 0)?,
        }
    };
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(root),
            (Event::DocumentStart(_), span) => bail!("line {}: a second document", span.start.line()),
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        Ok(self.parser.next_event().context("the file ends too soon")??)
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node> {
        let line = span.start.line();
        ensure!(depth < DEEPEST, "line {line}: nested more than {DEEPEST} deep");
        let value = match event {
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                bail!("line {line}: tags (!…) are not supported")
            }
            Event::Alias(_) => bail!("line {line}: aliases (*…) are not supported"),
            Event::Scalar(text, ScalarStyle::Plain, _, None) => plain(&text),
            Event::Scalar(text, _, _, None) => Value::Text(text.into_owned()),
            Event::SequenceStart(_, None) => self.list(depth)?,
            Event::MappingStart(_, None) => self.table(depth)?,
            other => bail!("line {line}: unexpected {other:?}"),
        };
        if let Value::Text(text) = &value {
            ensure!(!text.contains("${"), "line {line}: the interpolation {text:?} is not supported");
            ensure!(text != "???", "line {line}: the value is missing (???)");
        }
        Ok(Node { value, line })
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Value> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Table(entries));
            }
            let line = span.start.line();
            let Value::Text(key) = self.node(event, span, depth + 1)?.value else {
                bail!("line {line}: a key that is not a name");
            };
            ensure!(entries.iter().all(|(other, _)| *other != key), "line {line}: the key {key} is there twice");
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((key, value));
        }
    }
}

/// Returns the value of an unquoted scalar.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Nothing,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Boolean(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Value::Boolean(false),
        _ => {}
    }
    if let Some(number) = integer(text) {
        return Value::Integer(number);
    }
    match real(text) {
        Some(number) => Value::Real(number),
        None => Value::Text(text.to_owned()),
    }
}

/// Parses decimal, binary (`0b`), hexadecimal (`0x`) and octal (`0`) numbers, with `_` between digits.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = split_sign(text);
    let (radix, digits) = match digits.strip_prefix('0') {
        None | Some("") => (10, digits),
        Some(rest) => match rest.as_bytes()[0] {
            b'b' => (2, &rest[1..]),
            b'x' => (16, &rest[1..]),
            _ => (8, rest),
        },
    };
    // A decimal number starts with a digit; the others may start with `_`.
    if radix == 10 && !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    // The sign has already been removed, and `from_str_radix` would accept a second one.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&digits, radix).ok().map(|number| sign * number)
}

/// Parses numbers with a point, an exponent or both, infinity, and NaN.
fn real(text: &str) -> Option<f64> {
    let (sign, rest) = split_sign(text);
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(sign as f64 * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if rest == text => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let of_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let starts_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    // YAML 1.1 requires a sign in the exponent and accepts `_` anywhere. OmegaConf accepts exponents without a sign,
    // and then `_` only between digits.
    let signed = exponent.is_none_or(|exponent| exponent.starts_with(['+', '-']));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let grouped =
        |text: &str| starts_with_digit(text) && of_digits(text) && !text.contains("__") && !text.ends_with('_');
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => rest == text && signed && starts_with_digit(fraction) && of_digits(fraction),
        Some((whole, fraction)) if signed => starts_with_digit(whole) && of_digits(whole) && of_digits(fraction),
        Some((whole, fraction)) => grouped(whole) && (fraction.is_empty() || grouped(fraction)),
        None => exponent.is_some() && grouped(mantissa),
    };
    let fits = mantissa_fits && exponent_fits;
    if !fits {
        return None;
    }
    rest.replace('_', "").parse::<f64>().ok().map(|number| sign as f64 * number)
}

fn split_sign(text: &str) -> (i64, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The expected values are those of `OmegaConf.create("a: " + text).a`, in OmegaConf 2.4.0 with PyYAML 6.0.4.
    #[test]
    fn scalars_are_what_omegaconf_makes_of_them() {
        let real = Value::Real;
        let integer = Value::Integer;
        for (text, expected) in [
            ("1e-6", real(1e-6)),
            ("1e6", real(1e6)),
            ("1E+3", real(1e3)),
            ("1_000.5", real(1000.5)),
            ("1_000_.5", real(1000.5)),
            ("1._", real(1.0)),
            ("1.", real(1.0)),
            (".5", real(0.5)),
            (".5e+3", real(500.0)),
            ("1.e5", real(1e5)),
            ("1_0e3", real(1e4)),
            ("5.0e-1", real(0.5)),
            (".inf", real(f64::INFINITY)),
            ("-.inf", real(f64::NEG_INFINITY)),
            ("10_000", integer(10_000)),
            ("-3", integer(-3)),
            ("+7", integer(7)),
            ("0", integer(0)),
            ("1_", integer(1)),
            ("017", integer(15)),
            ("0_7", integer(7)),
            ("0b101", integer(5)),
            ("-0x1f", integer(-31)),
            ("True", Value::Boolean(true)),
            ("off", Value::Boolean(false)),
            ("~", Value::Nothing),
            ("", Value::Nothing),
            ("Null", Value::Nothing),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
        for text in [
            "1_0e1_0",
            "08",
            "0o17",
            "-.5",
            "+.5",
            ".5e3",
            "1e",
            "_1",
            "1_e3",
            "1__0e3",
            "12_.e3",
            "._5",
            "-.nan",
            "y",
            "none",
            "inf",
            "nan",
            "1.2.3",
            "2024-01-01",
            "e5",
            "+",
            ".",
            "1e5.0",
            "0x",
            "0b2",
            "--1",
            "-+1",
            "0x-1",
        ] {
            assert_eq!(plain(text), Value::Text(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_data_is_refused() {
        for (text, says) in [
            ("", "empty"),
            ("a: &x 1\nb: *x", "aliases"),
            ("a: !!python/object:os.system x", "tags"),
            ("a: ${b}", "interpolation"),
            ("a: \"${b}\"", "interpolation"),
            ("a: ???", "missing"),
            ("a: 1\na: 2", "the key a is there twice"),
            ("1: 2", "not a name"),
            ("a: 1\n---\nb: 2", "second document"),
            ("a: [1, 2", ""),
            ("a: b: c", ""),
            (&"[".repeat(50), "deep"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
