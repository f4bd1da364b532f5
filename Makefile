# One command each; every one of them creates .venv first when it is missing.
#   make book    execute the chapters and build the HTML book
#   make test    everything that continuous integration runs
#   make lab     open the chapters in JupyterLab
#   make serve   read the built book at http://localhost:8000
#   make lint    style only
#   make outputs run the chapters at tier smoke; store text that the tests compare and small figures
#   make clean   remove what was built (not .venv)

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: setup book lab test test-notebooks serve lint outputs lock clean

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 10) <= v < (3, 14) else "Python 3.10 to 3.13 is needed; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on -r requirements.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

book: $(STAMP)
	$(BIN)/python book/build.py

lab: $(STAMP)
	$(BIN)/python -m jupyter lab --ServerApp.root_dir=. notebooks/00_how_to_use_this_book.ipynb

test: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python book/build.py
	RESTORE_REQUIRE_BOOK=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests
	$(MAKE) test-notebooks

# The chapters run as on Colab: with the library from a wheel, in a folder that has nothing else of the repository.
test-notebooks: $(STAMP)
	rm -rf _build/wheel _build/installed build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir _build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --target _build/installed _build/wheel/*.whl
	rm -rf build && mkdir -p _build/installed/away && cp -r notebooks _build/installed/away
	RESTORE_TIER=smoke PYTHONPATH=$(CURDIR)/_build/installed $(BIN)/python -m pytest -n 2 --dist loadscope \
	  --nbval --nbval-current-env _build/installed/away/notebooks

serve: book
	@echo "http://localhost:$(PORT)"
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 $(PORT)

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

outputs: $(STAMP)
	$(BIN)/python book/chapters.py notebooks/*.ipynb
	$(BIN)/python book/equations.py
	$(BIN)/python book/bibliography.py
	$(BIN)/python book/diagrams.py

# The exact environment, for every Python and platform at once. CUDA packages are left to torch's own metadata:
# a CPU build of torch then needs none of them, and a CUDA build brings those it was built with.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime \
  nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
  nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx triton

lock:
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv pip compile --universal --python-version 3.10 --quiet --no-annotate --no-header pyproject.toml \
	  --extra teach --extra book --extra dev --extra export $(CUDA:%=--no-emit-package %) --output-file requirements.txt

clean:
	rm -rf _build .cache .pytest_cache .ruff_cache
