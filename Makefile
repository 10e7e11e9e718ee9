# make run   set up and forecast the simulated market
# make test  set up and run the tests
# make events  teach kronos-nano about events on the simulated market, and say what it learned (half an hour)
# make backtest  compare all models and ensembles on six real markets and on a simulated one (a quarter of an hour)
# make soak  kill runs and changes of checkpoints, stop databases, try malformed files: thousands of times (an hour)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test lint bench backtest soak events docs clean
.DEFAULT_GOAL := run

$(READY): requirements.txt constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(READY)

run: $(READY) kronosfw.yaml
	$(BIN)/kronosfw run kronosfw.yaml

kronosfw.yaml:
	cp examples/quickstart.yaml $@

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/host.py
	$(BIN)/python benchmarks/lines.py
	$(BIN)/python benchmarks/baselines.py --all
	$(BIN)/python benchmarks/sampler.py
	$(BIN)/python benchmarks/kronos_nano.py
	$(BIN)/python benchmarks/rqmc.py
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/encoders.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/guard.py --seed 7
	$(BIN)/python benchmarks/foundation.py
	$(BIN)/python benchmarks/backtest.py cost
	$(BIN)/python benchmarks/upsert.py
	$(BIN)/python benchmarks/reading.py

backtest: $(READY)
	$(BIN)/python benchmarks/backtest.py real
	$(BIN)/python benchmarks/backtest.py simulated

soak: $(READY)
	$(BIN)/python benchmarks/crashes.py images
	$(BIN)/python benchmarks/crashes.py kills
	$(BIN)/python benchmarks/malformed.py
	$(BIN)/python benchmarks/survival.py kills
	$(BIN)/python benchmarks/survival.py postgres
	$(BIN)/python benchmarks/survival.py stops

events: $(READY)
	$(BIN)/python benchmarks/events.py simulated

docs: $(READY)
	$(BIN)/python docs/config_reference.py > docs/config.md
	$(BIN)/python docs/picture.py

clean:
	rm -rf $(VENV)
