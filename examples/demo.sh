#!/usr/bin/env bash
# What `make demo` does, command by command; each is shown before it runs. `train` also measures the
# best state on the held-out test images, and `runs show` ends with that table and with all paths.
# Images go to data/nuclei, the run to runs/, predictions to demo/; nothing else is touched.
set -euo pipefail
cd "$(dirname "$0")/.."

show() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

show imtoolkit samples nuclei data/nuclei
show imtoolkit train nuclei_2d
show imtoolkit predict latest data/nuclei/images/nuclei_0000.ome.tif --output demo
show imtoolkit runs show latest
printf 'prediction: %s\n' "$PWD/demo/nuclei_0000.ome.tif"
