//! The hot pieces, each by itself. `cargo bench -p weir-bench [-- NAME]`; see `tests/README.md`.
#![allow(missing_docs, clippy::unwrap_used)] // a measurement may stop at the first thing that is wrong

mod events;
mod log;
mod operators;
mod tables;

use std::sync::LazyLock;
use weir_bench::traffic::Traffic;

/// That of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns of a log of seven minutes.
const TURNS: usize = 32;

static TRAFFIC: LazyLock<Traffic> = LazyLock::new(|| Traffic::generate(TURNS));
static RAW: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| TRAFFIC.raw());

fn main() {
    keep_freed_memory();
    divan::main();
}

#[allow(unsafe_code)] // as in the product
fn keep_freed_memory() {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets an integer inside the allocator; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
