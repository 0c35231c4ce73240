//! Lets a program that is built with libtorch find it where it was when it was built, without `LD_LIBRARY_PATH`,
//! and say where that was.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Set by torch-sys, which is there with the feature tch only.
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo:rustc-env=LIBTORCH_FOLDER={folder}");
    }
}
