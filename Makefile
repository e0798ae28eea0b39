# Varta: the commands of a newcomer. Meson and ninja do the work.
#
#   make run     see it work: an observer, three workers, a hang, a crash
#   make test    run every test
#   make         build;  make bench;  make install DESTDIR=... PREFIX=/usr
#   make deb     packages for Debian, in build/deb
#
# Debian packages that are missing are installed first (.ci/packages says which
# and why).

BUILD ?= build
PREFIX ?= /usr/local
SECONDS ?= 0
CC ?= cc

.PHONY: all build run test bench install deb format clean

all: build

# Made once; after that ninja itself sees what has changed in the build files.
$(BUILD)/build.ninja:
	@.ci/install build
	@meson setup $(BUILD) --prefix=$(PREFIX) >$(BUILD).log 2>&1 \
	    || { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

run: build
	@examples/demo.sh $(BUILD) $(SECONDS)

test:
	@.ci/install build test
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 tests/run.py $(BUILD)

bench: build
	@/usr/bin/python3 bench/run.py --build $(BUILD)

install: build
	@meson configure $(BUILD) -Dprefix=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet

# From a copy of the tree, since a package is built where debian/ is.
deb:
	@.ci/install build deb
	@rm -rf $(BUILD)/deb
	@mkdir -p $(BUILD)/deb/varta
	@tar -c --exclude=.git --exclude='./build*' --exclude=./run \
	    --exclude=./$(BUILD) . | tar -x -C $(BUILD)/deb/varta
	@cp -r dist/debian $(BUILD)/deb/varta/debian
	@cd $(BUILD)/deb/varta && env -u MAKEFLAGS -u MFLAGS \
	    dpkg-buildpackage -b -us -uc >../build.log 2>&1 || \
	    { tail -n 30 ../build.log; exit 1; }
	@ls $(BUILD)/deb/*.deb

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	@rm -rf $(BUILD) run
