# Two commands on a fresh machine:
#   make demo   creates .venv, installs vtrack, tracks the sample and draws the points on it
#   make test   creates .venv and .venv-mediapipe and runs the tests, except those that take more than a minute (pytest -m slow)
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MEDIAPIPE_VENV ?= .venv-mediapipe
MEDIAPIPE_READY := $(MEDIAPIPE_VENV)/.ready

.PHONY: demo test test-mediapipe lint docs wheel clean

demo: $(READY)
	$(BIN)/vtrack run samples/sample.mp4 --parts eyes,brows,lips,nose,jaw --video --overwrite -o out
	@echo "Look at out/sample.vtrack.mp4 (the video) and out/sample.vtrack.csv (the table)."

test: $(READY) test-mediapipe
	$(BIN)/python -m pytest -m "not slow"

# mediapipe's last wheels that contain their models need an older NumPy and OpenCV, hence a separate environment.
test-mediapipe: $(MEDIAPIPE_READY)
	$(MEDIAPIPE_VENV)/bin/python -m pytest tests/detectors/test_mediapipe.py tests/imaging/test_messages.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site in build/site; open build/site/index.html. A broken link or docstring is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --wheel

$(READY): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c .ci/constraints.txt -e '.[dev]'
	touch $@

$(MEDIAPIPE_READY): pyproject.toml .ci/constraints-mediapipe.txt
	$(PYTHON) -m venv $(MEDIAPIPE_VENV)
	$(MEDIAPIPE_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(MEDIAPIPE_VENV)/bin/python -m pip install --quiet -c .ci/constraints-mediapipe.txt -e '.[mediapipe]' pytest pytest-timeout scikit-image
	touch $@

clean:
	rm -rf $(VENV) $(MEDIAPIPE_VENV) build dist out *.egg-info
