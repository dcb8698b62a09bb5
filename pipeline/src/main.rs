//! The `weir` command.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    keep_freed_memory();
    weir_pipeline::cli::main()
}

/// Batches come and go thousands of times a second. Giving their pages back to the system and asking
/// for them again cost a quarter of all CPU time.
#[allow(unsafe_code)] // a setting of the allocator, which its Rust interface does not have
fn keep_freed_memory() {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets an integer inside the allocator; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
