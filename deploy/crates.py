#!/usr/bin/env python3
"""Whose the crates in our programs are: reads `cargo metadata`, writes name, version and licence."""

import json
import sys

crates = [package for package in json.load(sys.stdin)["packages"] if package["source"]]
print("crate\tversion\tlicence")
for crate in sorted(crates, key=lambda package: (package["name"], package["version"])):
    licence = crate["license"] or "see its own licence file"
    print(crate["name"], crate["version"], licence, sep="\t")
