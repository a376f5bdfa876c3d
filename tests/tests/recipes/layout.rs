//! The disk as genimage makes it, from files with nothing in them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{files, read, root};

const MIB: u64 = 1 << 20;

struct Partition {
    name: String,
    uuid: String,
    image: Option<String>,
}

/// The partitions of a genimage.cfg, in order.
fn partitions(file: &str) -> Vec<Partition> {
    let text = read(file);
    text.split("partition ")
        .skip(1)
        .filter_map(|part| {
            let (name, rest) = part.split_once('{')?;
            let body = rest.split_once('}').expect("a partition ends").0;
            let value = |key: &str| {
                let line = body
                    .lines()
                    .find_map(|line| line.trim().strip_prefix(key)?.trim().strip_prefix('='));
                line.map(|value| value.trim().trim_matches('"').to_owned())
            };
            Some(Partition {
                name: name.trim().to_owned(),
                uuid: value("partition-uuid")
                    .unwrap_or_else(|| panic!("{file}: {name} has no fixed UUID")),
                image: value("image"),
            })
        })
        .collect()
}

#[test]
fn every_board_has_the_same_partitions() {
    let mut everywhere = BTreeMap::new();
    for file in files("board", "genimage.cfg") {
        let partitions = partitions(&file);
        let names: Vec<_> = partitions.iter().map(|partition| partition.name.as_str()).collect();
        // A Pi has a boot partition for each slot besides; nothing but its firmware reads those.
        let common: Vec<_> =
            names.iter().filter(|name| !name.starts_with("boot-")).copied().collect();
        assert_eq!(common, ["esp", "rootfs-a", "rootfs-b", "config", "data"], "{file}");
        assert_eq!(names.last(), Some(&"data"), "{file}: data is last, so that it can grow");
        let uuids: HashSet<_> = partitions.iter().map(|partition| &partition.uuid).collect();
        assert_eq!(uuids.len(), partitions.len(), "{file}: a UUID is there twice");
        for partition in partitions {
            let uuid = everywhere.entry(partition.name.clone()).or_insert(partition.uuid.clone());
            assert_eq!(
                *uuid, partition.uuid,
                "{file}: {} has another UUID elsewhere",
                partition.name
            );
        }
    }
    let uuids: HashSet<_> = everywhere.values().collect();
    assert_eq!(uuids.len(), everywhere.len(), "two partitions share a UUID");
}

/// Makes the disk as the image build does, with empty files for what it would have built.
fn disk(dir: &Path, layout: &str) {
    for partition in partitions(layout) {
        let size = match partition.name.as_str() {
            "esp" => 64 * MIB,
            "config" => 32 * MIB,
            "boot-a" => 96 * MIB,
            "data" => 64 * MIB,
            _ => 100 * MIB,
        };
        if let Some(image) = partition.image {
            let file = std::fs::File::create(dir.join(image)).unwrap();
            file.set_len(size).unwrap();
        }
    }
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; . {0}/board/common/image.sh
         make_disk {1} x86_64 {1}/box.img {0}/{layout}
         sfdisk --json {1}/box.img >{1}/table.json",
        root().display(),
        dir.display()
    );
    let output = Command::new("bash").args(["-euc", &script]).output().unwrap();
    assert!(output.status.success(), "{layout}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn genimage_makes_the_disk() {
    for layout in files("board", "genimage.cfg") {
        let dir = tempfile::tempdir().unwrap();
        disk(dir.path(), &layout);
        let table = std::fs::read_to_string(dir.path().join("table.json")).unwrap();
        let table: Value = serde_json::from_str(&table).unwrap();
        let table = &table["partitiontable"];
        assert_eq!(table["label"], "gpt", "{layout}");

        let wanted: Vec<_> = partitions(&layout)
            .into_iter()
            .map(|partition| (partition.name, partition.uuid))
            .collect();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let made = table["partitions"].as_array().unwrap();
        let names: Vec<_> = made
            .iter()
            .map(|part| (text(&part["name"]), text(&part["uuid"]).to_lowercase()))
            .collect();
        assert_eq!(names, wanted, "{layout}");

        let mut free = MIB;
        for part in made {
            let name = text(&part["name"]);
            let (start, size) =
                (part["start"].as_u64().unwrap() * 512, part["size"].as_u64().unwrap() * 512);
            assert!(start >= free, "{layout}: {name} overlaps what is before it");
            assert_eq!(start % MIB, 0, "{layout}: {name} does not begin at a whole MiB");
            let right = match name.as_str() {
                "esp" | "data" => size == 64 * MIB,
                "rootfs-a" | "rootfs-b" => size == 384 * MIB,
                "config" => size == 32 * MIB,
                _ => size == 96 * MIB,
            };
            assert!(right, "{layout}: {name} has {} MiB", size / MIB);
            free = start + size;
        }
        assert!(free < 2000 * MIB, "{layout}: too large for a card of 2 GB");
    }
}
