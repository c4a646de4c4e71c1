# The programs that make the packages, with their versions. Sourced, not run.

cargo_deb=3.8.0
cargo_generate_rpm=0.21.1

# tool NAME VERSION OPTION...: installs it, unless this version is there.
tool() {
  local name=$1 version=$2
  shift 2
  cargo install --list | grep -qx "$name v$version:" && return
  echo "installing $name $version" >&2
  env -u CARGO_TARGET_DIR cargo install --quiet --locked "$name@$version" "$@"
}
