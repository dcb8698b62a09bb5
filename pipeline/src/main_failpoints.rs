//! The `weir` command with failpoints, for `tests/failpoints.sh`.

fn main() -> std::process::ExitCode {
    weir_pipeline::cli::main()
}
