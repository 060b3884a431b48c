# make report   nights in, site out: build/site/index.html
#               DATA=<folder of nights>  (optional, as all of these)
#               real data: HEADBAND=<nights.npz>  RAW_EEG=<nap.h5>  SLEEP_EDF=<folder>  HYPNOGRAMS=<dodh.json>
#               PART=<folder of nbs/report>: another part of the book, into build/<part>/
#               ECG=<folder of annotated WFDB records>: for PART=ecg
#               DIARY=<folder of wrist counts with a diary>: for PART=events
#               PART=transfer: takes SLEEP_EDF and HEADBAND
#               RESPIRATION=<folder of nights of breathing>: for PART=mae, which takes HEADBAND, too
#               BUDGET=ci: as short as it can be, never published
# make serve    the endpoint and its page, at http://127.0.0.1:8000 (settings: DREEM_CASE_*)
# make test     everything that must hold
# make bench    speed and memory of a night, of the server and of many nights, into build/bench/
#               PART=ecg: of a day of heartbeats instead; PART=transfer: of the import of a day of polysomnography;
#               PART=events: of a month of a wrist, and of the metric; PART=mae: of a study of ten hours as examples
# make nets     PART=transfer: all networks trained on simulated people, meant for an hour; those of bands where SLEEP_EDF is
#               given; goes on where it was stopped
#               PART=events: the shipped models of wrists; the one of real counts where DIARY is given
#               PART=mae: the shipped autoencoder, pretrained on simulated children in less than an hour; goes on, too
# make check    the pages that the last report made
# make notebook the chapters in JupyterLab
# make export   notebooks cleaned, modules exported
# make publish  put the last full report and benchmark into the committed notebooks and the README

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed.json
NETS := $(VENV)/nets.json
MEGABYTES = \"megabytes\": $$(du -sk $(VENV) | cut -f1 | awk '{print int($$1 / 1024)}')
WRISTS := dreem_case/events/models

DATA ?=
HEADBAND ?=
RAW_EEG ?=
SLEEP_EDF ?=
HYPNOGRAMS ?=
SEED ?= 1
MAX_NIGHTS ?= 0
PART ?=
ECG ?=
DIARY ?=
RESPIRATION ?=
BUDGET ?= full

.PHONY: install report serve notebook test bench nets check publish export pins clean
.DEFAULT_GOAL := report
# Another environment that happens to be active is none of ours.
unexport VIRTUAL_ENV

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "installing into $(VENV), once"
	@start=$$(date +%s); \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment (on Debian: apt install python3-venv)" >&2; exit 1; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[report,cluster,peer,ecg,edf,dev]' && \
	echo "{\"seconds\": $$(( $$(date +%s) - start )), $(MEGABYTES)}" > $@
	@cat $@

# Networks learn with what takes 0.6 GB more; staging a night needs none of it.
$(NETS): $(STAMP)
	@echo "installing what networks need into $(VENV), once"
	@start=$$(( $$(date +%s) - $$(sed 's/[^0-9]*\([0-9]*\).*/\1/' $(STAMP)) )); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[nets,events,edge]' && \
	echo "{\"seconds\": $$(( $$(date +%s) - start )), $(MEGABYTES)}" > $@
	@cat $@

install: $(STAMP)

report: $(NETS)
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/dreem-case report --seed $(SEED) --max-nights $(MAX_NIGHTS) \
		--data "$(DATA)" --headband "$(HEADBAND)" --raw-eeg "$(RAW_EEG)" \
		--sleep-edf "$(SLEEP_EDF)" --hypnograms "$(HYPNOGRAMS)" --ecg "$(ECG)" --diary "$(DIARY)" \
		--respiration "$(RESPIRATION)" \
		--part "$(PART)" --budget $(BUDGET)

serve: $(STAMP)
	$(BIN)/gunicorn -c python:dreem_case.serving.gunicorn_config 'dreem_case.api:create_app()'

notebook: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebook]'
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/jupyter lab nbs/index.ipynb

# Files go to two workers in the order of their names: sorted by their number of tests, slow ones with few come last.
test: $(NETS)
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md dreem_case tests benchmarks nbs/library
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/nbdev_test --n_workers 2
	OMP_NUM_THREADS=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: $(STAMP)
ifeq ($(PART),ecg)
	$(BIN)/python benchmarks/ecg.py
else ifeq ($(PART),transfer)
	$(BIN)/python benchmarks/transfer.py
else ifeq ($(PART),events)
	$(BIN)/python benchmarks/events.py
else ifeq ($(PART),mae)
	$(BIN)/python benchmarks/mae.py
else
	$(BIN)/python benchmarks/stage_night.py
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/batch.py
endif

# The edge's runtime and the reader of recordings come with the networks.
nets: $(NETS)
ifeq ($(PART),transfer)
	OMP_NUM_THREADS=2 $(BIN)/dreem-case transfer train-networks
	$(if $(SLEEP_EDF),$(BIN)/dreem-case transfer make-bands --bands "$(SLEEP_EDF)/bands_58_people.npz" --out build/transfer/bands)
else ifeq ($(PART),mae)
	OMP_NUM_THREADS=1 $(BIN)/dreem-case mae train-shipped
else ifeq ($(PART),events)
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --simulated 40 --rounds 110 --out $(WRISTS)/watch.json
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --simulated 120 --rounds 220 --epoch 10 --out $(WRISTS)/watch_10.json
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --simulated 120 --rounds 220 --epoch 30 --out $(WRISTS)/watch_30.json
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --simulated 120 --rounds 220 --epoch 60 --out $(WRISTS)/watch_60.json
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --simulated 40 --rounds 110 --channels movement,temperature,light --out $(WRISTS)/enmo.json
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --simulated 60 --counts --channels movement --out $(WRISTS)/counts_simulated.json
	$(if $(DIARY),OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --diary "$(DIARY)" --seeds 2 --out $(WRISTS)/counts.json)
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --network --simulated 40 --out $(WRISTS)/networks/spec2dcnn model=spec2dcnn
	OMP_NUM_THREADS=1 $(BIN)/dreem-case events train --network --simulated 40 --out $(WRISTS)/networks/unet1d model=spec1d
else
	@echo "expected PART=transfer, events or mae, found PART=$(PART)" >&2; exit 1
endif

check: $(STAMP)
	$(BIN)/python -m pytest -m built

publish: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/dreem-case publish --part "$(PART)"

export: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/nbdev_clean
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/nbdev_export

# The newest versions that work together, for all supported Python versions.
pins: $(STAMP)
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager -e '.[report,cluster,peer,ecg,edf,nets,events,edge,tracking,dev]'
	{ head -1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable; } > build/constraints.txt
	@echo "compare build/constraints.txt with constraints.txt, and keep the lines that only other Python versions need"

clean:
	rm -rf build
