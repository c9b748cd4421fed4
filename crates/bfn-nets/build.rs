//! Compiles the C++ kernels and the shim against libtorch's headers and lets this package's tests find libtorch.

use std::env;
use std::path::Path;

/// The instruction sets that the kernels are compiled for: name, f32 numbers in a register, compiler flags.
const INSTRUCTION_SETS: [(&str, &str, &[&str]); 3] = [
    ("baseline", "4", &[]),
    ("avx2", "8", &["-mavx2", "-mfma"]),
    ("avx512", "16", &["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/shim");
    println!("cargo:rerun-if-changed=src/kernels");
    println!("cargo:rerun-if-changed=src/fused");
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

    // What refers to the kernels comes before them on the linker's command line.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .files(["src/shim/shim.cpp", "src/shim/graph.cpp", "src/kernels/functions.cpp", "src/kernels/lists.cpp"])
        .files(["functions", "launcher", "emulator"].map(|name| format!("src/fused/{name}.cpp")))
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        // libtorch's headers are not ours to warn about, and these files are glue: nothing in them is hot.
        .warnings(false)
        .opt_level(1)
        .debug(false)
        .compile("bfn_shim");
    let x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|architecture| architecture == "x86_64");
    for (name, lanes, flags) in INSTRUCTION_SETS.into_iter().filter(|set| x86 || set.2.is_empty()) {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").file("src/kernels/kernels.cpp").opt_level(3);
        // Products and sums may be one instruction, and square roots need not report errors in errno.
        build.flag("-ffp-contract=fast").flag("-fno-math-errno");
        build.define("BFN_KERNELS", name).define("BFN_LANES", lanes);
        for flag in flags {
            build.flag(flag);
        }
        build.compile(&format!("bfn_kernels_{name}"));
    }

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
