use proptest::prelude::*;

use super::*;

fn confirmation(body: &[u8]) -> Confirmation {
    Confirmation { bytes: body.len() as u64, sha256: hex(&Sha256::digest(body)) }
}

fn segment(ledger: &mut Ledger, seq: u64, body: &'static [u8]) -> Vec<Loss> {
    ledger.start(seq, Bytes::from_static(body));
    let losses = ledger.evict(|_| false);
    ledger.end(2_000);
    losses
}

#[test]
fn a_segment_is_read_while_it_grows() {
    let mut ledger = Ledger::new(1_000);
    ledger.start(0, Bytes::from_static(b"head"));
    assert_eq!(ledger.read(0, 0), Read::Chunk(Bytes::from_static(b"head")));
    assert_eq!(ledger.read(0, 1), Read::Wait);
    ledger.data(Bytes::from_static(b"tag"));
    assert_eq!(ledger.read(0, 1), Read::Chunk(Bytes::from_static(b"tag")));
    ledger.end(2_000);
    assert_eq!(ledger.read(0, 2), Read::End);
    ledger.confirm(0, &confirmation(b"headtag")).unwrap();
    assert_eq!(ledger.read(0, 0), Read::Gone);
    assert_eq!(ledger.totals().confirmed_bytes, 7);
}

#[test]
fn a_wrong_digest_keeps_the_segment() {
    let mut ledger = Ledger::new(1_000);
    segment(&mut ledger, 3, b"body");
    let error = ledger.confirm(3, &confirmation(b"boby")).unwrap_err();
    assert!(error.to_string().starts_with("segment 3: the encoder confirmed 4 bytes"));
    assert_eq!(ledger.backlog(), (1, 4, 2_000));
    // Still being made: nothing can be confirmed yet.
    ledger.start(4, Bytes::from_static(b"x"));
    assert!(ledger.confirm(4, &confirmation(b"x")).is_err());
}

#[test]
fn the_oldest_goes_at_the_bound_and_is_counted() {
    let mut ledger = Ledger::new(10);
    assert!(segment(&mut ledger, 0, b"aaaa").is_empty());
    assert!(segment(&mut ledger, 1, b"bbbb").is_empty());
    let losses = segment(&mut ledger, 2, b"cccc");
    assert_eq!(losses, [Loss { seq: 0, bytes: 4, duration_ms: 2_000 }]);
    assert_eq!(ledger.totals().lost_ms, 2_000);
    assert_eq!(ledger.read(0, 0), Read::Gone);
}

#[test]
fn what_is_on_disk_goes_first_and_is_not_lost() {
    let mut ledger = Ledger::new(10);
    for seq in 0..2 {
        segment(&mut ledger, seq, b"aaaa");
        ledger.release(seq);
    }
    // The oldest is being sent: the other one goes, although it is younger.
    assert_eq!(ledger.claim(), Some(0));
    ledger.start(2, Bytes::from_static(b"bbbb"));
    assert!(ledger.evict(|_| true).is_empty());
    assert_eq!(ledger.read(1, 0), Read::Gone);
    assert_eq!((ledger.backlog().0, ledger.totals().lost), (2, 0));
    // The disk has failed since: now it is the oldest, and a loss.
    ledger.data(Bytes::from_static(b"cccc"));
    assert_eq!(ledger.evict(|_| false)[0].seq, 0);
    assert!(ledger.refuse(2, |_| true).is_none());
    assert_eq!((ledger.backlog().0, ledger.totals().lost), (0, 1));
}

#[test]
fn a_segment_larger_than_the_bound_is_still_made() {
    let mut ledger = Ledger::new(2);
    assert!(segment(&mut ledger, 0, b"aaaa").is_empty());
    assert_eq!(ledger.read(0, 0), Read::Chunk(Bytes::from_static(b"aaaa")));
}

#[test]
fn late_segments_are_claimed_oldest_first_and_once() {
    let mut ledger = Ledger::new(1_000);
    for seq in 0..3 {
        segment(&mut ledger, seq, b"body");
        ledger.release(seq);
    }
    assert_eq!((ledger.claim(), ledger.claim()), (Some(0), Some(1)));
    ledger.release(0);
    assert_eq!((ledger.claim(), ledger.claim(), ledger.claim()), (Some(0), Some(2), None));
    assert!(ledger.is_recent(2) && ledger.is_recent(1) && !ledger.is_recent(0));
}

proptest! {
    /// Every segment ends as confirmed, lost or waiting, and the bound holds.
    #[test]
    fn nothing_vanishes(
        steps in proptest::collection::vec((0_u8..5, 1_usize..40), 1..200),
        on_disk in proptest::collection::btree_set(0_u64..100, 0..50),
    ) {
        let limit = 100;
        let mut ledger = Ledger::new(limit);
        let (mut made, mut open) = (0_u64, false);
        let mut moved = 0;
        for (step, size) in steps {
            match step {
                0 => {
                    if open { ledger.end(1); }
                    ledger.start(made, Bytes::from(vec![1; size]));
                    (made, open) = (made + 1, true);
                }
                1 => { ledger.data(Bytes::from(vec![2; size])); }
                2 => { ledger.end(1); open = false; }
                3 => { ledger.release(made.saturating_sub(size as u64)); ledger.claim(); }
                _ => { ledger.refuse(made.saturating_sub(size as u64), |_| false); }
            }
            for loss in ledger.evict(|seq| {
                let safe = on_disk.contains(&seq);
                moved += u64::from(safe);
                safe
            }) {
                prop_assert!(!on_disk.contains(&loss.seq));
            }
            let (waiting, bytes, _) = ledger.backlog();
            prop_assert_eq!(waiting as u64 + ledger.totals().lost + moved, made);
            prop_assert!(bytes <= limit || waiting == 1);
        }
    }
}
