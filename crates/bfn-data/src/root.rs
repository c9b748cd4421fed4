//! The folders in which data is stored.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// The folders that are searched for data sets, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    places: Vec<PathBuf>,
}

impl Root {
    /// Creates the usual list of folders.
    ///
    /// These are the given folder (the setting `data.root`), then the folder named by the environment variable
    /// BFN_DATA, then `bfn/data` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`).
    #[must_use]
    pub fn new(given: Option<PathBuf>) -> Self {
        Self::from_variables(given, |name| env::var_os(name))
    }

    /// Creates a list of these folders and no others.
    #[must_use]
    pub fn of_places(places: Vec<PathBuf>) -> Self {
        Self { places }
    }

    /// Returns the folders that are searched.
    #[must_use]
    pub fn places(&self) -> &[PathBuf] {
        &self.places
    }

    fn from_variables(given: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let cache = cache_folder(set);
        let mut places: Vec<PathBuf> = Vec::new();
        let candidates = [given, set("BFN_DATA").map(PathBuf::from), cache.map(|cache| cache.join("bfn").join("data"))];
        for place in candidates.into_iter().flatten() {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Self { places }
    }

    /// Returns the folder `bfn` in the user's cache folder, for files that the program can rebuild.
    #[must_use]
    pub fn cache() -> PathBuf {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        cache_folder(variable).unwrap_or_else(env::temp_dir).join("bfn")
    }

    /// Finds a file or folder by its path: as it stands and, if the path is relative, in every place.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Missing`] if it is not found; `what` describes the file in the message.
    pub fn file(&self, what: &str, path: &Path) -> Result<PathBuf, DataError> {
        if path.exists() {
            return Ok(path.to_owned());
        }
        let places: Vec<PathBuf> = if path.is_absolute() { Vec::new() } else { self.places.clone() };
        let found = places.iter().map(|place| place.join(path)).find(|path| path.exists());
        found.ok_or_else(|| DataError::Missing {
            what: what.to_owned(),
            names: path.display().to_string(),
            places: std::iter::once(PathBuf::from("the working folder")).chain(places).collect(),
            cure: "correct the path, or put the file there".to_owned(),
        })
    }

    /// Finds the first file that exists, in the order of places, then of folders in a place, then of names.
    pub(crate) fn find(&self, what: &str, folders: &[&str], names: &[&str]) -> Result<PathBuf, DataError> {
        let places: Vec<PathBuf> =
            self.places.iter().flat_map(|place| folders.iter().map(|folder| within(place, folder))).collect();
        let found =
            places.iter().flat_map(|place| names.iter().map(|name| place.join(name))).find(|path| path.is_file());
        found.ok_or_else(|| DataError::Missing {
            what: what.to_owned(),
            names: names.join(" or "),
            cure: match places.first() {
                Some(first) => format!(
                    "put the file into {}, or set data.root or the variable BFN_DATA to the folder \
                     that holds your data",
                    first.display()
                ),
                None => "set data.root or the variable BFN_DATA to the folder that holds your data".to_owned(),
            },
            places,
        })
    }
}

impl Default for Root {
    fn default() -> Self {
        Self::new(None)
    }
}

fn cache_folder(set: impl Fn(&'static str) -> Option<OsString>) -> Option<PathBuf> {
    set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))
}

/// Joins a folder to a place, without a trailing slash if the folder is the place itself.
fn within(place: &Path, folder: &str) -> PathBuf {
    if folder.is_empty() { place.to_owned() } else { place.join(folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(given: Option<&str>, variables: &[(&str, &str)]) -> Vec<PathBuf> {
        let variable = |name: &str| {
            let value = variables.iter().find(|(known, _)| *known == name)?.1;
            Some(OsString::from(value))
        };
        Root::from_variables(given.map(PathBuf::from), variable).places
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn the_given_folder_comes_before_the_variable_before_the_cache() {
        let variables = [("BFN_DATA", "/b"), ("HOME", "/home/u")];
        let expected = paths(&["/a", "/b", "/home/u/.cache/bfn/data"]);
        assert_eq!(places(Some("/a"), &variables), expected);
    }

    #[test]
    fn xdg_names_the_cache_folder_unless_it_is_empty() {
        let both = [("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(places(None, &both), paths(&["/x/bfn/data"]));
        let empty = [("XDG_CACHE_HOME", ""), ("HOME", "/h"), ("BFN_DATA", "")];
        assert_eq!(places(None, &empty), paths(&["/h/.cache/bfn/data"]));
        assert_eq!(places(None, &[]), paths(&[]));
    }

    #[test]
    fn a_place_named_twice_is_looked_at_once() {
        assert_eq!(places(Some("/a"), &[("BFN_DATA", "/a")]), paths(&["/a"]));
    }

    #[test]
    fn a_missing_file_names_every_place_and_the_cure() {
        let root = Root::of_places(paths(&["/nowhere/a", "/nowhere/b"]));
        let message = match root.find("MNIST", &["mnist", ""], &["x", "x.gz"]) {
            Ok(path) => panic!("found {}", path.display()),
            Err(error) => error.to_string(),
        };
        for part in ["/nowhere/a/mnist,", "/nowhere/a,", "/nowhere/b/mnist,", "x or x.gz", "BFN_DATA", "data.root"] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }
}
