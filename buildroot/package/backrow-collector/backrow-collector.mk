################################################################################
#
# backrow-collector
#
################################################################################

# "make dist" packs the sources of this very tree, every crate included, and
# "make image" calls it first. The archive comes from here, so its checksum is
# written beside it, and there is no .hash file: with one, for the licence say,
# the defconfigs' BR2_DOWNLOAD_FORCE_CHECK_HASHES would want the archive in it.
BACKROW_COLLECTOR_VERSION = $(call qstrip,$(shell sed -n 's/^version = //p' $(BR2_EXTERNAL_BACKROW_PATH)/../Cargo.toml | head -n 1))
BACKROW_COLLECTOR_SOURCE = backrow-$(BACKROW_COLLECTOR_VERSION).tar.gz
BACKROW_COLLECTOR_SITE = $(BR2_EXTERNAL_BACKROW_PATH)/../target/dist
BACKROW_COLLECTOR_SITE_METHOD = file
BR_NO_CHECK_HASH_FOR += $(BACKROW_COLLECTOR_SOURCE)
BACKROW_COLLECTOR_LICENSE = Apache-2.0
BACKROW_COLLECTOR_LICENSE_FILES = LICENSE
BACKROW_COLLECTOR_DEPENDENCIES = gst1-plugins-base gstreamer1 host-pkgconf udev

BACKROW_COLLECTOR_CARGO_BUILD_OPTS = \
	--package backrow-collector --bin collector \
	--package backrow-appliance --bin appliance

# cargo install takes one crate; these are two of a workspace.
define BACKROW_COLLECTOR_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/release/collector \
		$(TARGET_DIR)/usr/bin/collector
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/release/appliance \
		$(TARGET_DIR)/usr/bin/appliance
endef

$(eval $(cargo-package))
