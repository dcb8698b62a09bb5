# shellcheck shell=bash
# What tests/run.sh, tests/bench.sh and deploy/demo.sh share. They source this file from the root of
# the repository; nothing happens before they call a function.

# Talk goes to standard error, so that standard output holds only results.
say() {
  printf '\n==> %s\n' "$*" >&2
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Says a command, then runs it.
step() {
  say "$*"
  "$@"
}

# Where builds, test data and results are kept between runs, outside of the checkout.
cache_dir() {
  printf '%s/weir\n' "${XDG_CACHE_HOME:-$HOME/.cache}"
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root: $*. Run it as root, or install sudo"
  fi
}

is_installed() {
  dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

# Installs those of the given Debian packages that are not there.
install_packages() {
  local package missing=()
  if ! command -v apt-get >/dev/null; then
    say "No apt-get here: make sure that you have $*"
    return
  fi
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [[ ${#missing[@]} -gt 0 ]]; then
    say "Installing ${missing[*]} with apt-get"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  fi
}

has_package() {
  command -v apt-cache >/dev/null && apt-cache show "$1" >/dev/null 2>&1
}

install_rust() {
  if has_package rustup; then
    install_packages rustup
    step rustup default stable
  else
    say "Installing Rust with the installer from https://sh.rustup.rs"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --profile minimal --component rustfmt --component clippy >&2 ||
      die "could not install Rust: see https://www.rust-lang.org/tools/install, then run this again"
    PATH=$HOME/.cargo/bin:$PATH
  fi
}

# Makes sure of a Rust that is new enough.
need_rust() {
  local needed found
  [[ -d $HOME/.cargo/bin ]] && PATH=$HOME/.cargo/bin:$PATH
  command -v cargo >/dev/null || install_rust
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(cargo --version | cut -d' ' -f2)
  if ! printf '%s\n' "$needed" "$found" | sort --version-sort --check=quiet; then
    command -v rustup >/dev/null ||
      die "cargo $found is too old, Weir needs $needed: remove it and run this again"
    step rustup update stable
  fi
}

need_rust_components() {
  local component
  for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 ||
      step rustup component add "${component/#fmt/rustfmt}"
  done
}

# Installs what a build needs and a fresh Debian lacks, and chooses where the build goes.
prepare_build() {
  install_packages build-essential clang libclang-dev libssl-dev cmake pkg-config git curl ca-certificates
  need_rust
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$(cache_dir)/target}
  mkdir -p "$CARGO_TARGET_DIR"
  WEIR=$CARGO_TARGET_DIR/release/weir
  say "Building into $CARGO_TARGET_DIR"
  if [[ ! -e $WEIR ]]; then
    say "The first build takes 10 to 15 minutes on two cores, most of it for RocksDB." \
      "Later ones take seconds."
  fi
}

# Builds Weir with failpoints and the simulator with its sabotages, at once: all crates are compiled again for them.
build_disturbed() {
  step cargo build --release --locked --package weir-pipeline --package weir-sim \
    --features weir-pipeline/failpoints,weir-sim/sabotage --bin weir-failpoints --bin weir-sim
}

# Builds the binary and leaves its path in $WEIR.
build_weir() {
  prepare_build
  step cargo build --release --locked --bin weir
}
