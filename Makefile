# Each target first builds .venv and, on Debian and its relatives, installs the system packages
# that are missing; the second call starts at once. Another Python: make PYTHON=python3.12 test

export PYTHON ?= python3
# Without compiled modules, which --no-compile leaves to the first import, PyTorch loads half as fast.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin

# Linux without a display draws into a virtual one.
DISPLAYED := $(DISPLAY)$(WAYLAND_DISPLAY)$(filter-out Linux,$(shell uname -s))
XVFB := $(if $(DISPLAYED),,xvfb-run -a -s "-screen 0 1600x1000x24")

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo napari test test-all run-tests lint docs zootable weights bench clean viewer-packages

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile

demo: viewer-packages $(VENV)/.all ## segment, fine-tune and score a real image; write pictures
	$(BIN)/napari-segzoo demo

napari: viewer-packages $(VENV)/.all ## open napari with the plugin
	$(BIN)/napari

# Viewers last, as they slow down what follows in their process, and the shortest of them at the end.
TESTS := $(sort $(wildcard tests/test_*.py)) $(shell ls -r tests/widgets/test_*.py)

test: SELECTED := -m "not slow"
test: run-tests ## tests, those of the real viewer included
test-all: run-tests ## those that are slow too

run-tests: viewer-packages $(VENV)/.test
	$(BIN)/npe2 validate napari-segzoo
	$(XVFB) $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	    --no-loadscope-reorder $(SELECTED) $(TESTS) $(PYTEST_ARGS)

lint: $(VENV)/.test ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.docs ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.bench ## speed, memory, skipping, seams and kills, beside other libraries; DATA=nuclei2d adds Dice
	mkdir -p build
	$(BIN)/python benchmarks/inference.py > build/inference.txt
	cat build/inference.txt
	$(BIN)/python benchmarks/speed_chart.py build/inference.txt build/speed.svg
	$(BIN)/python benchmarks/inference.py --trained
	$(BIN)/python benchmarks/skipping.py
	$(BIN)/python benchmarks/separation.py
	$(BIN)/python benchmarks/seams.py docs/images/seams.png
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/memory.py --peers
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/metrics.py
	$(if $(DATA),$(BIN)/python benchmarks/quality.py "$(DATA)")

zootable: $(VENV)/.bench ## all networks trained for the same CPU time; needs DATA=folder of nuclei2d
	$(BIN)/python benchmarks/zoo.py "$(DATA)" build/zootable.csv

weights: $(VENV)/.bench ## the bundled models; needs DATA=folder of nuclei2d, takes hours
	$(BIN)/python scripts/train_nuclei.py "$(DATA)" src/napari_segzoo/weights/nuclei.safetensors \
	    --seconds 7200
	$(BIN)/python scripts/train_generalist.py src/napari_segzoo/weights/generalist-2d.safetensors \
	    --nuclei "$(DATA)" --base src/napari_segzoo/weights/nuclei.safetensors
	$(BIN)/python scripts/train_generalist.py src/napari_segzoo/weights/generalist-3d.safetensors \
	    --ndim 3 --base src/napari_segzoo/weights/generalist-2d.safetensors

clean: ## remove .venv and all that was built
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

viewer-packages:
	@scripts/system-packages viewer

$(VENV)/pyvenv.cfg:
	@scripts/system-packages python
	$(PYTHON) -m venv --clear $(VENV)

# .venv/.NAME records that the extra NAME is installed.
$(VENV)/.%: pyproject.toml $(VENV)/pyvenv.cfg
	@echo "Installing napari-segzoo[$*] into $(VENV); the first time takes a few minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[$*]"
	@touch $@
