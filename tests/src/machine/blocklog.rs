//! Replays a disk's log of writes as QEMU's `blklogwrites` makes it: what the disk would hold had
//! the power gone at any flush.
//!
//! The format is that of Linux's dm-log-writes: a superblock in the first sector, then for each
//! request one sector that describes it, followed by its data. A request that was flushed is on the
//! disk for sure, one after the last flush may be or not; a prefix that ends at a flush is the least
//! that a disk that keeps its word holds.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
/// Flags that are known: the four of QEMU and dm-log-writes' mark for metadata.
const KNOWN: u64 = 0b1_1111;

/// The superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Super {
    entries: u64,
    sector: u64,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// First byte on the disk.
    pub at: u64,
    /// How many bytes.
    pub length: u64,
    /// Where in the log its data is; `None` when there is none, as for a discard.
    pub data: Option<u64>,
    /// Everything before it, and itself, is on the disk for sure.
    pub barrier: bool,
}

fn parse_super(sector: &[u8]) -> Result<Super, String> {
    let field = |at: usize| number(sector, at).ok_or("the log has no superblock");
    match (field(0)?, field(8)?) {
        (MAGIC, VERSION) => {}
        (MAGIC, version) => return Err(format!("the log has version {version}, not {VERSION}")),
        _ => return Err("this is no log of writes".to_owned()),
    }
    let size = field(24).map(|word| word & 0xffff_ffff)?;
    if !size.is_power_of_two() || !(512..=65536).contains(&size) {
        return Err(format!("sectors of {size} bytes"));
    }
    Ok(Super { entries: field(16)?, sector: size })
}

/// The request described by a log's sector at `place`.
fn parse_entry(sector: &[u8], size: u64, place: u64) -> Result<Entry, String> {
    let field = |at: usize| number(sector, at).ok_or("the log ends within an entry");
    let (first, count, flags) = (field(0)?, field(8)?, field(16)?);
    if flags & !KNOWN != 0 {
        return Err(format!("an entry has unknown flags {flags:#x}"));
    }
    let bytes = |sectors: u64| {
        sectors.checked_mul(size).ok_or_else(|| format!("an entry of {sectors} sectors"))
    };
    let (at, length) = (bytes(first)?, bytes(count)?);
    at.checked_add(length).ok_or("an entry reaches beyond any disk")?;
    let data = (flags & DISCARD == 0 && length > 0).then_some(place + size);
    Ok(Entry { at, length, data, barrier: flags & (FLUSH | FUA) != 0 })
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// A log, its entries read.
#[derive(Debug)]
pub struct BlockLog {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl BlockLog {
    /// Reads what is in the log up to its last flush.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let named = |error: io::Error| format!("{}: {error}", path.display());
        let mut file = File::open(path).map_err(named)?;
        let mut sector = vec![0; 512];
        file.read_exact(&mut sector).map_err(named)?;
        let head = parse_super(&sector)?;
        let mut entries = Vec::new();
        let mut place = head.sector;
        for _ in 0..head.entries {
            file.seek(SeekFrom::Start(place)).map_err(named)?;
            file.read_exact(&mut sector).map_err(named)?;
            let entry = parse_entry(&sector, head.sector, place)?;
            place += head.sector + entry.data.map_or(0, |_| entry.length);
            entries.push(entry);
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The requests, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Lengths of the prefixes that end at a flush after something was written.
    pub fn barriers(&self) -> Vec<usize> {
        let mut written = false;
        let mut ends = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            written |= entry.length > 0;
            if entry.barrier && std::mem::take(&mut written) {
                ends.push(index + 1);
            }
        }
        ends
    }

    /// Writes the requests numbered `range` onto `disk`, which has those before them already.
    ///
    /// # Errors
    /// What could not be read or written.
    pub fn replay(&self, range: std::ops::Range<usize>, disk: &File) -> io::Result<()> {
        let log = File::open(&self.path)?;
        let mut buffer = vec![0; 1 << 20];
        for entry in self.entries.get(range).unwrap_or_default() {
            // A discarded sector may be read as anything; zeros are what most disks give.
            let mut done = 0;
            while done < entry.length {
                let left = entry.length - done;
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                match entry.data {
                    Some(place) => log.read_exact_at(&mut buffer[..part], place + done)?,
                    None => buffer[..part].fill(0),
                }
                disk.write_all_at(&buffer[..part], entry.at + done)?;
                done += part as u64;
            }
        }
        Ok(())
    }
}

/// At most `count` of `all`, spread evenly, the last among them.
pub fn sample(all: &[usize], count: usize) -> Vec<usize> {
    if all.len() <= count {
        return all.to_vec();
    }
    (1..=count).map(|n| all[n * all.len() / count - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    /// A log of requests: first sector, data, flags.
    fn log(requests: &[(u64, &[u8], u64)]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let sector = |fields: &[u64]| {
            let mut bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
            bytes.resize(512, 0);
            bytes
        };
        let mut text = sector(&[MAGIC, VERSION, requests.len() as u64, 512]);
        for (first, data, flags) in requests {
            let count = data.len() as u64 / 512;
            text.extend(sector(&[*first, count, *flags, 0]));
            if flags & DISCARD == 0 {
                text.extend(*data);
            }
        }
        file.write_all(&text).unwrap();
        file
    }

    #[test]
    fn every_prefix_is_the_disk_at_that_moment() {
        let (a, b) = ([0xaa; 1024], [0xbb; 512]);
        let file = log(&[
            (1, &a, 0),
            (0, &[], FLUSH),
            (2, &b, 0),
            (0, &[], FLUSH),
            (0, &[], FLUSH),
            (1, &[0; 512], DISCARD),
            (3, &b, FUA),
        ]);
        let log = BlockLog::open(file.path()).unwrap();
        assert_eq!(log.entries().len(), 7);
        assert_eq!(log.barriers(), [2, 4, 7]);
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(2048).unwrap();
        let sectors = || -> Vec<u8> {
            let mut all = [0; 2048];
            disk.read_exact_at(&mut all, 0).unwrap();
            all.chunks(512).map(|sector| sector[0]).collect()
        };
        log.replay(0..2, &disk).unwrap();
        assert_eq!(sectors(), [0, 0xaa, 0xaa, 0]);
        log.replay(2..4, &disk).unwrap();
        assert_eq!(sectors(), [0, 0xaa, 0xbb, 0]);
        log.replay(4..7, &disk).unwrap();
        assert_eq!(sectors(), [0, 0, 0xbb, 0xbb]);
    }

    #[test]
    fn what_is_no_log_is_told() {
        let open = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            BlockLog::open(file.path()).unwrap_err()
        };
        assert!(open(b"short").contains("fill whole buffer"));
        assert_eq!(open(&[0; 512]), "this is no log of writes");
        let file = log(&[(0, &[], 1 << 40)]);
        let error = BlockLog::open(file.path()).unwrap_err();
        assert_eq!(error, "an entry has unknown flags 0x10000000000");
    }

    #[test]
    fn a_sample_is_spread_and_has_the_end() {
        assert_eq!(sample(&[1, 2, 3], 5), [1, 2, 3]);
        assert_eq!(sample(&(1..=10).collect::<Vec<_>>(), 3), [3, 6, 10]);
    }

    proptest! {
        #[test]
        fn any_sector_is_an_entry_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_super(&bytes);
            if let Ok(entry) = parse_entry(&bytes, 512, 512) {
                prop_assert!(entry.at.checked_add(entry.length).is_some());
            }
        }
    }
}
