# Every target makes .venv and installs what is locked when that is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup multispectral qgis demo test test-slow lint types imports bench docs lock clean

setup: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Weights of 145 MB, which slow tests alone need: they are not locked, so that the demo does without.
multispectral: .venv/multispectral

.venv/multispectral: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps ukis-csmask==1.0.0
	touch $@

# QGIS for the Python of Debian, in which slow tests open projects: they are skipped without it.
qgis:
	@[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "This takes root and apt-get." >&2; exit 1; }
	dpkg -s python3-qgis >/dev/null 2>&1 || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-qgis >/dev/null; }

demo: setup
	$(BIN)/satseg demo -o demo --overwrite

# Processes instead of threads: threads of several processes would only wait for each other.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-slow: multispectral
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32

imports: setup
	$(BIN)/lint-imports

bench: setup
	@for file in tests/benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

# Warnings are errors, links to pages, headings, options and classes that do not exist among them.
docs: setup
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html

lock: setup
	{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --exclude-editable \
	  | grep -viE '^(nvidia-|cuda-|triton|ukis-csmask)'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:
	rm -rf .venv demo docs/_build
