//! Lets the binary and this package's tests find libtorch where the build found it.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let Ok(library) = env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo:warning=torch-sys named no libtorch folder; run `cargo xtask setup` first");
        return;
    };
    // The path is absolute, so that the program runs from any folder. Where it leads through the `.libtorch`
    // link of a checkout, the link comes first (it may be moved without a rebuild) and its present target
    // second (an installed program outlives the checkout).
    println!("cargo:rustc-link-arg=-Wl,-rpath,{library}");
    if let Ok(target) = Path::new(&library).canonicalize().map(|path| path.display().to_string())
        && target != library
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{target}");
    }
}
