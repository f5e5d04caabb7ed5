# What a person types. The build itself is meson's (meson.build); see `make help`.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 60
export NINJAFLAGS

.PHONY: all build run check check-fast fuzz sim sim-many sim-places sim-wrong powercut bench bench-spool bench-size bench-tls bench-front bench-drain bench-live verdicts install clean format help

all: build

build:
	@scripts/build $(BUILD)

run: build
	@scripts/run-demo

check:
	@scripts/install-deps test
	@scripts/check

check-fast:
	@scripts/install-deps test
	@scripts/check --fast

fuzz:
	@scripts/fuzz $(SECONDS)

# SEED=n: that one; WITHOUT=1,2: less of it; FAULT=…: as sim-places prints it; TRACE=1: every event; WRONG=name: see
# src/base/wrong.h
sim:
	@SEED="$(SEED)" WITHOUT="$(WITHOUT)" FAULT="$(FAULT)" TRACE="$(TRACE)" WRONG="$(WRONG)" scripts/sim one

# N seeds from FIRST on
sim-many:
	@scripts/sim many "$(or $(N),2000)" "$(or $(FIRST),1)"

# EVERY=sync: the power goes before, during and after each sync; EVERY=n: each process dies in every nth call
sim-places:
	@scripts/sim places "$(or $(SEED),3)" "$(or $(EVERY),sync)"

# Each deliberate mistake must be seen within 200 seeds.
sim-wrong:
	@scripts/sim wrong

# The spool on a real ext4 whose power goes; as root.
powercut:
	@tests/powercut/run long

# The primary's verdict on mail that comes through us and mail that does not; as root.
verdicts: build
	@scripts/install-deps test
	@LOCUM_BUILD=$(BUILD) tests/verdicts/run

bench: build
	@QUICK=$(QUICK) bench/run

bench-spool: build
	@LOCUM_BUILD=$(BUILD) bench/spool

bench-tls: build
	@LOCUM_BUILD=$(BUILD) QUICK=$(QUICK) bench/tls

bench-front: build
	@LOCUM_BUILD=$(BUILD) QUICK=$(QUICK) bench/front

bench-drain: build
	@LOCUM_BUILD=$(BUILD) QUICK=$(QUICK) bench/drain

bench-live: build
	@LOCUM_BUILD=$(BUILD) QUICK=$(QUICK) bench/live

bench-size: build
	@LOCUM_BUILD=$(BUILD) bench/size

install: build
	@meson configure $(BUILD) -Dprefix=$(abspath $(PREFIX)) -Dlibexecdir=libexec
	@ninja -C $(BUILD) >/dev/null
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf $(BUILD)

format:
	@scripts/format

help:
	@echo "make             build everything into build/ (installs missing Debian packages)"
	@echo "make run         a demonstration on this machine, without root and without the network"
	@echo "make check       everything a change must pass (ten to fifteen minutes, as root)"
	@echo "make check-fast  the part of it that needs no root and no peers"
	@echo "make fuzz        fuzz every target for SECONDS=60 each"
	@echo "make sim         one simulated world: SEED=n, WITHOUT=1,2 TRACE=1 (tests/sim)"
	@echo "make sim-many    N=2000 of them from FIRST=1 on"
	@echo "make sim-places  one world, cut at each sync (EVERY=sync) or killed in every nth call (EVERY=n)"
	@echo "make sim-wrong   mistakes made on purpose, each to be seen by the simulator"
	@echo "make powercut    the spool on a real ext4 whose power goes at every sync (ten minutes, as root)"
	@echo "make verdicts    is a primary's verdict the same directly and through us? (five minutes, as root)"
	@echo "make bench       Locum beside Postfix, as a table (QUICK=1: a short one)"
	@echo "make bench-spool the spool beside the disk alone, as a table (two minutes)"
	@echo "make bench-size  a million messages, ten thousand domains: memory, start, cost (ten minutes)"
	@echo "make bench-tls   handshakes beside openssl s_server, mail and idle clients over TLS (five minutes, as root)"
	@echo "make bench-live  mail through Locum while the primary is up, beside mail straight to it (QUICK=1; as root)"
	@echo "make bench-drain the recovery of a primary that takes five connections at once, beside Postfix (QUICK=1; as root)"
	@echo "make bench-front good mail while 20,000 clients are idle or 5,000 slow, beside postscreen (QUICK=1; as root)"
	@echo "make install     to DESTDIR and PREFIX=/usr/local"
	@echo "make format      let clang-format rewrite the sources"
	@echo "make clean       remove build/"
