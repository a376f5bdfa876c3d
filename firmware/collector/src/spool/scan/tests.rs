use super::*;
use crate::spool::index::Key;
use crate::spool::measure::tests::{bytes, segments};

fn spool() -> (tempfile::TempDir, Disk, RoomName, SessionId) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path());
    let session = SessionId::new("2026-05-01T10:00:00Z".parse().unwrap());
    (directory, disk, "demo".parse().unwrap(), session)
}

fn write(disk: &Disk, room: &RoomName, session: SessionId, seq: u64, bytes: &[u8]) {
    let mut writing = disk.create(room, Key { session, seq }).unwrap();
    bytes.chunks(100).for_each(|piece| writing.write(piece).unwrap());
    assert_eq!(writing.finish().unwrap(), bytes.len() as u64);
}

/// What is found, and what is told.
fn scan(disk: &Disk) -> (Vec<Found>, Vec<String>) {
    let (mut found, mut told) = (Vec::new(), Vec::new());
    disk.scan(|it| found.push(it), |it| told.push(it)).unwrap();
    (found, told)
}

#[test]
fn what_was_stored_and_confirmed_is_found_again() {
    let (_directory, disk, room, session) = spool();
    let made: Vec<_> = segments(4).iter().map(|it| bytes(it)).collect();
    for (seq, bytes) in made.iter().enumerate() {
        write(&disk, &room, session, seq as u64, bytes);
    }
    let size = |seq: usize| made[seq].len() as u64;
    disk.record(&room, session, &[(0, size(0)), (1, size(1))]).unwrap();
    // A line for another size is about another file.
    disk.record(&room, session, &[(2, size(2) - 1), (9, 1)]).unwrap();
    let (found, told) = scan(&disk);
    assert_eq!(told, Vec::<String>::new());
    let expected = (0..4).map(|seq| (seq as u64, (size(seq), seq < 2))).collect();
    assert_eq!(found, [Found { room: room.clone(), session, segments: expected }]);
    assert_eq!(disk.newest_session(&room, Timestamp::MAX), Some(session));
    assert_eq!(disk.newest_session(&room, session.began()), None);
    for seq in 0..4 {
        let key = Key { session, seq };
        assert_eq!(disk.read(&room, key).unwrap()[..], made[seq as usize]);
        disk.remove(&room, key).unwrap();
    }
    disk.remove_session(&room, session);
    assert!(!disk.directory(&room, session).exists());
}

/// A crash may leave the segment that was being written, or (on a disk that lies) the last one
/// that was whole, at any length.
#[test]
fn the_last_segment_is_repaired_wherever_it_was_torn() {
    let (_directory, disk, room, session) = spool();
    let made: Vec<_> = segments(2).iter().map(|it| bytes(it)).collect();
    let last = &made[1];
    let directory = disk.directory(&room, session);
    for name in [record::part_file(1), segment_file(1)] {
        let mut kept_once = false;
        let _ = std::fs::remove_dir_all(&directory);
        write(&disk, &room, session, 0, &made[0]);
        for cut in 0..=last.len() {
            let _ = std::fs::remove_file(directory.join(segment_file(1)));
            std::fs::write(directory.join(&name), &last[..cut]).unwrap();
            let (found, told) = scan(&disk);
            let found = &found[0].segments;
            assert_eq!(found[&0].0, made[0].len() as u64);
            if let Some((kept, confirmed)) = found.get(&1) {
                kept_once = true;
                assert!(!confirmed);
                let now = disk.read(&room, Key { session, seq: 1 }).unwrap();
                assert_eq!((now.len() as u64, &now[..]), (*kept, &last[..*kept as usize]));
                let measured = measure(&now);
                assert!(measured.complete && measured.playable, "{name} at {cut}");
            } else {
                assert!(!kept_once && told.len() == 1, "{name} at {cut}: {told:?}");
            }
            // The next start finds nothing to do.
            let (again, told) = scan(&disk);
            assert_eq!((&again[0].segments, told), (found, Vec::new()));
        }
        assert!(kept_once);
    }
}

#[test]
fn damaged_and_foreign_files_are_set_aside_and_named() {
    let (directory, disk, room, session) = spool();
    let whole = bytes(&segments(1)[0]);
    write(&disk, &room, session, 0, &whole);
    let path = disk.directory(&room, session);
    std::fs::write(path.join("notes.txt"), "hello").unwrap();
    std::fs::write(path.join("0000000007.flv"), "this is no FLV").unwrap();
    std::fs::create_dir(path.join("0000000008.flv")).unwrap();
    std::fs::write(path.join("0000000000.flv.part"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(path.join("confirmed"), [0, 159, 146, 150]).unwrap();
    std::fs::create_dir(directory.path().join("lost+found")).unwrap();
    std::fs::write(directory.path().join("README"), "hello").unwrap();
    std::fs::create_dir_all(directory.path().join("demo/not-a-session")).unwrap();
    std::fs::create_dir_all(directory.path().join("attic").join(session.to_string())).unwrap();
    let (found, told) = scan(&disk);
    let expected = [(0, (whole.len() as u64, false))].into();
    assert_eq!(found, [Found { room, session, segments: expected }]);
    assert_eq!(told.len(), 4, "{told:?}");
    for name in ["notes.txt", "0000000007.flv", "0000000008.flv", "0000000000.flv.part"] {
        assert!(path.join(format!("{name}.bad")).exists(), "{name}");
        assert!(told.iter().any(|it| it.contains(name)), "{name}: {told:?}");
    }
    assert!(directory.path().join("README").exists());
    // The empty session of the other room is gone, and a second look has nothing to say.
    assert!(!directory.path().join("attic").join(session.to_string()).exists());
    assert_eq!(scan(&disk).1, Vec::<String>::new());
}

#[test]
fn a_spool_that_cannot_be_made_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let disk = Disk::new(&file.join("spool"));
    let error = disk.scan(|_| {}, |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("cannot make "), "{error}");
}
