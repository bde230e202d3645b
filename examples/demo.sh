#!/usr/bin/env bash
# What `make demo` does, command by command; each is shown before it runs.
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
show imtoolkit evaluate latest --split test
