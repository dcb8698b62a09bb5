//! The hot pieces, each by itself. `cargo bench -p weir-bench [-- NAME]`; see `tests/README.md`.
#![allow(missing_docs, clippy::unwrap_used)] // a measurement may stop at the first thing that is wrong

mod events;
mod log;
mod operators;
mod tables;

use std::sync::LazyLock;
use weir_bench::traffic::Traffic;

/// That of the product, with its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[allow(unsafe_code)] // the name under which the allocator looks for its settings
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &[u8; 38] = b"dirty_decay_ms:-1,muzzy_decay_ms:-1\0\0\0";

/// Turns of a log of seven minutes.
const TURNS: usize = 32;

static TRAFFIC: LazyLock<Traffic> = LazyLock::new(|| Traffic::generate(TURNS));
static RAW: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| TRAFFIC.raw());

fn main() {
    divan::main();
}
