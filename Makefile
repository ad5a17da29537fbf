# Set up, try out, check. Everything happens in virtual environments of its own.

PYTHON ?= python3.11
# Which torch: any that pyproject.toml's range allows. For a CPU build from PyTorch's own index:
#   make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
PIP := -m pip --disable-pip-version-check --quiet install

.PHONY: demo check test clean

# Install u2cut as a user would, and cut the examples out into out/.
demo: .venv/installed
	.venv/bin/u2cut remove examples/*.jpg -o out/ --overwrite
	@echo "Cut with $$(.venv/bin/u2cut weights path auto). The cutouts are in out/:" && ls -1 out/

.venv/installed: pyproject.toml weights/lite.safetensors weights/refiner.safetensors weights/u2netp.safetensors
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) $(TORCH)
	.venv/bin/python $(PIP) .
	@touch $@

# Everything that CI runs: format, lint, who imports whom, types, tests with coverage. Training runs in processes of
# its own, where no inference library has started threads.
check: .venv-check/installed
	.venv-check/bin/ruff format --check .
	.venv-check/bin/ruff check .
	.venv-check/bin/lint-imports
	.venv-check/bin/mypy
	.venv-check/bin/python -m pytest -n 2 --cov --cov-report= --ignore tests/training
	.venv-check/bin/python -m pytest -n 2 --cov --cov-append --cov-report=term:skip-covered \
		--cov-fail-under=90 tests/training

# The tests alone; ARGS="-m slow", for example, chooses others.
test: .venv-check/installed
	.venv-check/bin/python -m pytest $(ARGS)

.venv-check/installed: pyproject.toml
	$(PYTHON) -m venv .venv-check
	.venv-check/bin/python $(PIP) $(TORCH)
	.venv-check/bin/python $(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venv-check out
