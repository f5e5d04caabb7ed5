# What a person types. The build itself is meson's (meson.build); see `make help`.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 60
export NINJAFLAGS

.PHONY: all build run check check-fast fuzz bench install clean format help

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

bench: build
	@QUICK=$(QUICK) bench/run

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
	@echo "make check       everything a change must pass (about 10 minutes, as root)"
	@echo "make check-fast  the part of it that needs no root and no peers"
	@echo "make fuzz        fuzz every target for SECONDS=60 each"
	@echo "make bench       Locum beside Postfix, as a table (QUICK=1: a short one)"
	@echo "make install     to DESTDIR and PREFIX=/usr/local"
	@echo "make format      let clang-format rewrite the sources"
	@echo "make clean       remove build/"
