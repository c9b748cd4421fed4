//! Custom networks, known by name to every part of the program.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::nn::Path;

use crate::Error;

use super::{Network, Variables};

/// The settings of a network from outside this crate: `[network.own]`, its name and whatever it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnConfig {
    /// The name that the network was [registered](register) under.
    pub name: String,
    /// All other keys of the table.
    #[serde(flatten)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// The settings of a custom network, which build it.
///
/// Derive `Deserialize` with `#[serde(deny_unknown_fields)]`, so that a wrong key is refused by name.
pub trait OwnNetwork: DeserializeOwned {
    /// Builds the network with fresh parameters under `path`, drawn from libtorch's generator.
    ///
    /// # Errors
    ///
    /// Returns an error if a setting does not fit the variables, best as an [`Error::Configuration`].
    fn build(&self, variables: &Variables, path: &Path<'_>) -> Result<Box<dyn Network>, Error>;

    /// Checks the settings without building anything.
    ///
    /// # Errors
    ///
    /// Returns an error where [`build`](Self::build) does.
    fn check(&self, variables: &Variables) -> Result<(), Error> {
        let _ = variables;
        Ok(())
    }
}

/// Registers a network under a name for the rest of the program's life, in place of any that had the name.
///
/// Call it before anything reads a configuration.
pub fn register<N: OwnNetwork>(name: &str) {
    let maker = Maker {
        build: |config, variables, path| config.read::<N>()?.build(variables, path),
        check: |config, variables| config.read::<N>()?.check(variables),
    };
    MAKERS.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), maker);
}

static MAKERS: RwLock<BTreeMap<String, Maker>> = RwLock::new(BTreeMap::new());

type Build = fn(&OwnConfig, &Variables, &Path<'_>) -> Result<Box<dyn Network>, Error>;

#[derive(Clone, Copy)]
struct Maker {
    build: Build,
    check: fn(&OwnConfig, &Variables) -> Result<(), Error>,
}

impl OwnConfig {
    pub(super) fn build(&self, variables: &Variables, path: &Path<'_>) -> Result<Box<dyn Network>, Error> {
        (self.maker()?.build)(self, variables, path)
    }

    pub(super) fn check(&self, variables: &Variables) -> Result<(), Error> {
        (self.maker()?.check)(self, variables)
    }

    /// Returns a setting such as `classes` or `low_resolution`: what a custom network can be conditioned on.
    pub(super) fn number(&self, key: &str) -> Option<usize> {
        usize::try_from(self.settings.get(key)?.as_u64()?).ok()
    }

    fn maker(&self) -> Result<Maker, Error> {
        let makers = MAKERS.read().unwrap_or_else(PoisonError::into_inner);
        makers.get(&self.name).copied().ok_or_else(|| Error::Configuration {
            key: "network.own.name".to_owned(),
            expected: match makers.len() {
                0 => "a program that registers networks of its own; this one registers none".to_owned(),
                _ => format!("one of {}", makers.keys().cloned().collect::<Vec<_>>().join(", ")),
            },
            found: self.name.clone(),
        })
    }

    fn read<N: OwnNetwork>(&self) -> Result<N, Error> {
        let settings = serde_json::Value::Object(self.settings.clone());
        N::deserialize(settings).map_err(|error| Error::Configuration {
            key: format!("network.own, {}", self.name),
            expected: "its settings".to_owned(),
            found: error.to_string(),
        })
    }
}
