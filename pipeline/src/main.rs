//! The `weir` command.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Batches come and go thousands of times a second. Giving their pages back to the system and asking
/// for them again cost a quarter of all CPU time.
#[allow(unsafe_code)] // the name under which the allocator looks for its settings
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &[u8; 38] = b"dirty_decay_ms:-1,muzzy_decay_ms:-1\0\0\0";

fn main() -> std::process::ExitCode {
    weir_pipeline::cli::main()
}
