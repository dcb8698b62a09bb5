#!/bin/sh
# Runs one worker of several in a container, as `weir-worker` of the image. All have one configuration; what differs goes
# by the name of the container or pod, such as weir-2:
#
#   /etc/weir/weir.toml       that of all; @NAME@ in it becomes weir-2
#   /etc/weir/weir-2.toml     if it is there, sections of this worker alone, such as [accounts]
#   /etc/weir/weir-2.number   if it is there, its number; otherwise it is the one in its name, 2
#
# A worker keeps its number with its data directory. One whose volume is lost begins anew, and must not do so under its
# former number: readers would take its first records for repeats. Give it one that was never used, up to 999.
set -eu

from=/etc/weir
name=${POD_NAME:-$(hostname)}
number=${name##*-}
if [ -e "$from/$name.number" ]; then
  number=$(cat "$from/$name.number")
fi

# Paths in the configuration start from its directory: they have to be absolute.
config=${TMPDIR:-/tmp}/weir.toml
sed "s/@NAME@/$name/g" "$from/weir.toml" >"$config"
if [ -e "$from/$name.toml" ]; then
  cat "$from/$name.toml" >>"$config"
fi

exec weir run --config "$config" --worker "$number"
