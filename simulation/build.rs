//! Links the seeded randomness into the program, not into tests.

fn main() {
    println!("cargo::rerun-if-changed=src/random.c");
    // Elsewhere runs are not the same to the byte.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    for object in cc::Build::new().file("src/random.c").compile_intermediates() {
        println!("cargo::rustc-link-arg-bins={}", object.display());
    }
    // Libraries that look the functions up by name must find these.
    for name in ["getrandom", "getentropy", "syscall", "clock_gettime"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={name}");
    }
}
