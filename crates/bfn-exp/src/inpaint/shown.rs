//! A picture of completions.

use anyhow::Result;

use crate::completion::Given;
use crate::form::Form;
use crate::picture::{GROUND, Picture};
use crate::target::{bytes, image_format};

/// The maximum number of images in a row of the picture.
const COLUMNS: usize = 12;

/// Returns a picture of the known part, the mask, the completions and, last, the original input.
pub(super) fn picture(given: &Given, completions: &[f64], whole: &[f64], form: &Form) -> Result<Picture> {
    let format = image_format(form)?;
    let mut known = bytes(whole, form);
    known.iter_mut().zip(&given.known).filter(|(_, known)| !**known).for_each(|(byte, _)| *byte = GROUND);
    let mask = given.known.iter().map(|known| if *known { 0 } else { u8::MAX });
    let mut images = known.clone();
    images.extend(mask);
    images.extend(bytes(completions, form));
    images.extend(bytes(whole, form));
    let count = images.len() / format.size();
    Ok(Picture::grid(&images, format, count.min(COLUMNS)))
}
