//! Lets a program that is built with libtorch find it where it was when it was built, without `LD_LIBRARY_PATH`,
//! and say where that was.

fn main() {
    // Set by torch-sys, which is there with the feature tch only. (Not rerun-if-changed=build.rs: this is also the build
    // script of ../tests, where that file is missing, and what is missing counts as changed every time.)
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo:rustc-env=LIBTORCH_FOLDER={folder}");
    }
}
