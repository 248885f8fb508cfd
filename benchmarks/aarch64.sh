#!/bin/sh
# The portability benchmark on an emulated 64-bit ARM processor: no speed can be told, but codes can.
#
#     sh benchmarks/aarch64.sh WORK [COMMAND ...]     # as root on Debian or Ubuntu, some 400 MB in the folder WORK
#
# It takes Python of Debian 12, NumPy and Pillow of PyPI, all for aarch64, builds the C library by a cross compiler, and
# runs them under QEMU in user mode. With a COMMAND it runs that Python with these words instead, as `-m pqmim doctor`.
set -e
work=$(realpath -m "$1")
shift
here=$(realpath "$(dirname "$0")/..")
python="$work/python"

if [ ! -x "$python" ]; then
    apt-get install -y qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross debootstrap
    debootstrap --arch=arm64 --foreign --variant=minbase --include=python3 bookworm "$work/root"
    for package in "$work"/root/var/cache/apt/archives/*.deb; do # --foreign unpacks the essential ones alone
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$work/root"
    done
    python3 -m pip download --dest "$work/wheels" --no-deps --python-version 3.11 --only-binary=:all: \
        --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
        numpy pillow safetensors threadpoolctl tqdm
    for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/site"; done
    cat > "$work/site/sitecustomize.py" <<END
import sys
sys.executable = "$python"  # a child is emulated, too
END
    cat > "$python" <<END
#!/bin/sh
export PYTHONHOME="$work/root/usr" PYTHONPATH="$work/site:$here/src" XDG_CACHE_HOME="$work/cache"
export OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
exec qemu-aarch64 -L "$work/root" "$work/root/usr/bin/python3.11" "\$@"
END
    chmod +x "$python"
fi
CC=aarch64-linux-gnu-gcc XDG_CACHE_HOME="$work/cache" PYTHONPATH="$here/src" python3 -m pqmim.native build
if [ $# -gt 0 ]; then exec "$python" "$@"; fi
exec "$python" "$here/benchmarks/portability.py" --streams 100 --processor "aarch64, emulated by QEMU"
