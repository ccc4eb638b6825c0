#!/bin/sh
# Unpacks packages of Debian testing into FOLDER, which nothing but tests looks into: a Vulkan device with
# cooperative matrices, layers and validator that know them, emulators of more processors. FOLDER/run
# PROGRAM... runs a program with its libraries and its device. Usage: newer_debian.sh FOLDER
set -eu
folder=$1
suite=forky
wanted="mesa-vulkan-drivers vulkan-validationlayers libvulkan1 spirv-tools qemu-user"
said="$suite $wanted"
[ "$(cat "$folder/packages.txt" 2>/dev/null)" != "$said" ] || exit 0
printf '== Unpacking packages of Debian %s for tests: %s\n' "$suite" "$wanted" >&2

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
[ -n "$mirror" ] || { echo "error: apt-get knows no mirror of Debian" >&2; exit 1; }
rm -rf "$folder" "$folder.new"
mkdir -p "$folder.new"
state=$(mktemp -d)
trap 'rm -rf "$state" "$folder.new"' EXIT
mkdir -p "$state/lists/partial" "$state/archives/partial"
: >"$state/status" # as if nothing were installed: libraries come along
echo "deb $mirror $suite main" >"$state/sources"
apt() {
  apt-get -qq -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state" \
    -o Dir::Etc::SourceList="$state/sources" -o Dir::Etc::SourceParts=/dev/null \
    -o APT::Sandbox::User= -o Acquire::Languages=none "$@" >"$state/log" 2>&1 ||
    { cat "$state/log" >&2; exit 1; }
}
apt update
# shellcheck disable=SC2086 # a list
apt install -y --download-only --no-install-recommends $wanted
for package in "$state"/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$package" |
    tar -x -C "$folder.new" --exclude='./usr/share/doc' --exclude='./usr/share/man'
done
find "$folder.new/usr/bin" -name 'qemu-*' ! -name qemu-hexagon -delete # 200 MB of other processors

libraries=$folder/usr/lib/x86_64-linux-gnu
cat >"$folder.new/device.json" <<JSON
{"file_format_version": "1.0.0", "ICD": {"api_version": "1.3.0", "library_path": "$libraries/libvulkan_lvp.so"}}
JSON
cat >"$folder.new/run" <<RUN
#!/bin/sh
export VK_DRIVER_FILES="$folder/device.json"
export VK_ADD_LAYER_PATH="$folder/usr/share/vulkan/explicit_layer.d"
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "\$@"
RUN
chmod +x "$folder.new/run"
printf '%s\n' "$said" >"$folder.new/packages.txt" # last: says that all of it is there
mv "$folder.new" "$folder"
