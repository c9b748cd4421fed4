//! Numbers of transmission steps, as named on the command line and in results.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::objective::Term;

/// A number of transmission steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// n steps.
    Finite(u32),
    /// Continuous time, n → ∞.
    Infinite,
}

/// One entry of `--steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepsChoice {
    /// One number of steps.
    One(Steps),
    /// All numbers of steps in the paper's tables.
    Paper,
}

/// The numbers of steps in the paper's tables.
pub const PAPER: [Steps; 9] = [
    Steps::Finite(10),
    Steps::Finite(25),
    Steps::Finite(50),
    Steps::Finite(100),
    Steps::Finite(250),
    Steps::Finite(500),
    Steps::Finite(784),
    Steps::Finite(1000),
    Steps::Infinite,
];

impl Steps {
    /// Returns the term of the bound for this number of steps.
    pub fn term(self) -> Term {
        match self {
            Self::Finite(n) => Term::Step { n, noisy: false },
            Self::Infinite => Term::ContinuousTime,
        }
    }
}

impl StepsChoice {
    /// Returns all chosen numbers of steps, each once, in their order.
    pub fn all(choices: &[Self]) -> Vec<Steps> {
        let mut all = Vec::new();
        for choice in choices {
            let steps = match choice {
                Self::One(steps) => std::slice::from_ref(steps),
                Self::Paper => &PAPER,
            };
            for steps in steps {
                if !all.contains(steps) {
                    all.push(*steps);
                }
            }
        }
        all
    }
}

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "inf" => Ok(Self::Infinite),
            _ => match text.parse() {
                Ok(n) if n > 0 => Ok(Self::Finite(n)),
                _ => {
                    Err("expected a number of steps from 1 on, inf, or paper for all of the paper's tables".to_owned())
                }
            },
        }
    }
}

impl FromStr for StepsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "paper" { Ok(Self::Paper) } else { text.parse().map(Self::One) }
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(n) => write!(to, "{n}"),
            Self::Infinite => to.write_str("inf"),
        }
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Finite(n) => to.serialize_u32(*n),
            Self::Infinite => to.serialize_str("inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        if value == "inf" {
            return Ok(Self::Infinite);
        }
        let n = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        n.map(Self::Finite).ok_or_else(|| de::Error::custom(format!("{value} is not a number of steps")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_become_a_list_without_repetition() {
        let all = |text: &str| {
            let choices: Result<Vec<StepsChoice>, String> = text.split(',').map(str::parse).collect();
            choices.map(|choices| StepsChoice::all(&choices))
        };
        assert_eq!(all("paper").expect("a list"), PAPER);
        let shown: Vec<String> = all("25,inf,5,paper").expect("a list").iter().map(Steps::to_string).collect();
        assert_eq!(shown.join(" "), "25 inf 5 10 50 100 250 500 784 1000");
        for wrong in ["0", "ten", "-1", "", "4294967296"] {
            assert!(all(wrong).is_err(), "{wrong:?}");
        }
        let json = serde_json::to_string(&PAPER).expect("JSON");
        assert_eq!(json, r#"[10,25,50,100,250,500,784,1000,"inf"]"#);
        assert_eq!(serde_json::from_str::<Vec<Steps>>(&json).expect("a list"), PAPER);
    }
}
