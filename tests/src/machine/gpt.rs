//! Finds partitions by name in a GUID partition table. Pure.
//!
//! The header is the second sector; it says where the entries are and how long each is. An entry
//! has its first and last sector and a name in UTF-16.

use std::ops::Range;

/// Bytes of a sector; all disks here have this.
pub const SECTOR: u64 = 512;

/// As much of a disk's beginning as holds header and entries.
pub const HEAD: u64 = 34 * SECTOR;

/// One partition: its name and where on the disk it is, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The name in the table.
    pub name: String,
    /// From the first byte to the one after the last.
    pub bytes: Range<u64>,
}

/// The partitions in a disk's first [`HEAD`] bytes; `None` when there is no table.
pub fn partitions(head: &[u8]) -> Option<Vec<Partition>> {
    let header = head.get(SECTOR as usize..)?;
    header.starts_with(b"EFI PART").then_some(())?;
    let first = usize::try_from(number::<8>(header, 72)? * SECTOR).ok()?;
    let count = usize::try_from(number::<4>(header, 80)?).ok()?;
    let size = usize::try_from(number::<4>(header, 84)?).ok()?;
    (size >= 128).then_some(())?;
    let entries = head.get(first..)?.chunks_exact(size).take(count);
    Some(entries.filter_map(entry).collect())
}

fn entry(entry: &[u8]) -> Option<Partition> {
    let unused = entry.get(..16)?.iter().all(|byte| *byte == 0);
    (!unused).then_some(())?;
    let (first, last) = (number::<8>(entry, 32)?, number::<8>(entry, 40)?);
    let units =
        entry.get(56..128)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let name: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let bytes = first.checked_mul(SECTOR)?..last.checked_add(1)?.checked_mul(SECTOR)?;
    Some(Partition { name: String::from_utf16_lossy(&name), bytes })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut number = [0; 8];
    number[..N].copy_from_slice(bytes.get(at..at + N)?);
    Some(u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(partitions: &[(&str, u64, u64)]) -> Vec<u8> {
        let mut head = vec![0; HEAD as usize];
        head[512..520].copy_from_slice(b"EFI PART");
        head[584..592].copy_from_slice(&2u64.to_le_bytes());
        head[592..596].copy_from_slice(&128u32.to_le_bytes());
        head[596..600].copy_from_slice(&128u32.to_le_bytes());
        for (index, (name, first, last)) in partitions.iter().enumerate() {
            let entry = &mut head[1024 + index * 128..][..128];
            entry[..16].fill(0xab);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            for (unit, place) in name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
                place.copy_from_slice(&unit.to_le_bytes());
            }
        }
        head
    }

    #[test]
    fn names_and_places() {
        let found = partitions(&table(&[("esp", 2048, 4095), ("config", 4096, 8191)])).unwrap();
        let esp = Partition { name: "esp".into(), bytes: 1_048_576..2_097_152 };
        let config = Partition { name: "config".into(), bytes: 2_097_152..4_194_304 };
        assert_eq!(found, [esp, config]);
    }

    #[test]
    fn no_table_and_a_broken_one() {
        assert_eq!(partitions(&vec![0; HEAD as usize]), None);
        assert_eq!(partitions(b"short"), None);
        let mut broken = table(&[("esp", u64::MAX, u64::MAX)]);
        assert_eq!(partitions(&broken), Some(vec![]));
        broken[596..600].fill(0);
        assert_eq!(partitions(&broken), None);
    }
}
