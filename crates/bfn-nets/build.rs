//! Compiles the C++ shim against libtorch's headers and lets this package's tests find libtorch.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/shim");
    println!("cargo:rerun-if-env-changed=CXX");

    // torch-sys says where it found libtorch; a build without it (documentation only) has nothing to link.
    let Ok(library) = env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo:warning=torch-sys named no libtorch folder; run `cargo xtask setup` first");
        return;
    };
    let library = Path::new(&library);
    let include = library.join("../include");
    if !include.join("ATen/ATen.h").is_file() {
        panic!(
            "expected libtorch's C++ headers at {}, found none: run `cargo xtask setup`, \
             or let LIBTORCH name a libtorch 2.11.0 folder that has `lib` and `include`",
            include.display()
        );
    }

    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .files(["src/shim/shim.cpp", "src/shim/graph.cpp"])
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        // libtorch's headers are not ours to warn about, and the shim is glue: nothing in it is hot.
        .warnings(false)
        .opt_level(1)
        .compile("bfn_shim");

    // The path is absolute, so that programs run from any folder. Where it leads through the `.libtorch`
    // link of a checkout, the link comes first (it may be moved without a rebuild) and its present target
    // second (an installed program outlives the checkout).
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
    if let Ok(target) = library.canonicalize().map(|path| path.display().to_string())
        && target != library.display().to_string()
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{target}");
    }
}
