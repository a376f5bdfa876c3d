use super::*;
use proptest::prelude::*;
use std::time::Duration;

/// Long enough for any machine: a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

fn mount(limits: Limits) -> Mount {
    Mount::new("test.flv", "video/x-flv", limits)
}

fn frame(text: &str, sync: bool) -> Frame {
    Frame { data: Bytes::copy_from_slice(text.as_bytes()), sync }
}

/// Pushes each word as a frame; words in capitals are sync points.
fn push(mount: &Mount, words: &str) {
    for word in words.split_whitespace() {
        mount.push(frame(word, word.starts_with(|c: char| c.is_ascii_uppercase())));
    }
}

/// What a reader has ready now, as text, without waiting for more.
async fn ready(reader: &mut Reader) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        tokio::select! {
            biased;
            chunk = reader.next() => match chunk {
                Some(chunk) => out.push(String::from_utf8(chunk.to_vec()).unwrap()),
                None => { out.push("end".into()); return out; }
            },
            () = std::future::ready(()) => return out,
        }
    }
}

#[tokio::test]
async fn starts_with_the_header_at_the_newest_sync_point() {
    let mount = mount(Limits::default());
    push(&mount, "A b c D e");
    let mut early = mount.subscribe();
    assert_eq!(ready(&mut early).await, [""; 0], "no header yet");
    assert!(!mount.ready());
    mount.set_header("header ".into());
    // What came before the header may not belong to it.
    assert_eq!(ready(&mut early).await, [""; 0]);
    push(&mount, "f G h I j");
    assert!(mount.ready());
    assert_eq!(ready(&mut early).await, ["header ", "Ij"]);
    push(&mount, "k");
    assert_eq!(ready(&mut early).await, ["k"]);
    assert_eq!(ready(&mut mount.subscribe()).await, ["header ", "Ijk"]);
}

#[tokio::test]
async fn a_burst_starts_further_back() {
    let mount = mount(Limits { start_syncs: 3, header: false, ..Limits::default() });
    push(&mount, "A B");
    assert_eq!(ready(&mut mount.subscribe()).await, ["AB"]);
    push(&mount, "C D e");
    assert_eq!(ready(&mut mount.subscribe()).await, ["BCDe"]);
}

#[tokio::test]
async fn chunks_are_bounded_and_single_frames_are_not_copied() {
    let mount = mount(Limits { chunk_bytes: 4, header: false, ..Limits::default() });
    push(&mount, "Aa bb cc longer-than-a-chunk dd");
    let mut reader = mount.subscribe();
    assert_eq!(ready(&mut reader).await, ["Aabb", "cc", "longer-than-a-chunk", "dd"]);
    let data = Bytes::from_static(b"shared");
    mount.push(Frame { data: data.clone(), sync: false });
    assert_eq!(reader.next().await.unwrap().as_ptr(), data.as_ptr());
}

#[tokio::test]
async fn readers_at_the_same_place_share_one_joined_chunk() {
    let mount = mount(Limits { header: false, ..Limits::default() });
    push(&mount, "A b c");
    let mut readers = [mount.subscribe(), mount.subscribe()];
    let first = readers[0].next().await.unwrap();
    let second = readers[1].next().await.unwrap();
    assert_eq!(&first[..], b"Abc");
    assert_eq!(first.as_ptr(), second.as_ptr());
}

/// Room for about four small frames.
const SMALL: Limits = Limits {
    ring_bytes: 300,
    chunk_bytes: 1,
    start_syncs: 1,
    max_skips: 2,
    forgive_frames: 8,
    header: true,
};

#[tokio::test]
async fn a_slow_reader_skips_to_a_newer_sync_point_and_is_dropped_in_the_end() {
    let mount = mount(SMALL);
    mount.set_header("h".into());
    push(&mount, "A b");
    let mut reader = mount.subscribe();
    assert_eq!(ready(&mut reader).await, ["h", "A", "b"]);
    push(&mount, "c d e F g h i");
    // The sync point that is still in the ring; the header is not repeated.
    assert_eq!(ready(&mut reader).await, ["F", "g", "h", "i"]);
    // Overtaken with no sync point to move to: it waits.
    push(&mount, "j k l m n o");
    assert_eq!(ready(&mut reader).await, [""; 0]);
    push(&mount, "P q");
    assert_eq!(ready(&mut reader).await, ["P", "q"]);
    push(&mount, "r s t U v");
    assert_eq!(ready(&mut reader).await, ["end"]);
    let stats = mount.stats();
    assert_eq!((stats.skips, stats.ended_slow, stats.clients), (2, 1, 1));
    drop(reader);
    assert_eq!(mount.clients(), 0);
}

#[tokio::test]
async fn keeping_up_is_forgiven() {
    let mount = mount(SMALL);
    mount.set_header("h".into());
    push(&mount, "A");
    let mut reader = mount.subscribe();
    ready(&mut reader).await;
    for round in 0..10 {
        push(&mount, "b c d e F");
        assert_eq!(ready(&mut reader).await, ["F"], "round {round}");
        for _ in 0..10 {
            push(&mount, "x");
            assert_eq!(ready(&mut reader).await, ["x"]);
        }
    }
}

#[tokio::test]
async fn a_changed_header_goes_to_new_readers_only() {
    let mount = mount(Limits::default());
    mount.set_header("one".into());
    push(&mount, "A b");
    let mut old = mount.subscribe();
    ready(&mut old).await;
    mount.set_header("one".into());
    assert_eq!(ready(&mut mount.subscribe()).await, ["one", "Ab"], "the same is no change");
    mount.set_header("two".into());
    let mut new = mount.subscribe();
    push(&mount, "c");
    assert_eq!(ready(&mut new).await, [""; 0], "frames of the old header are not for it");
    push(&mount, "D");
    assert_eq!(ready(&mut new).await, ["two", "D"]);
    assert_eq!(ready(&mut old).await, ["cD"]);
}

#[tokio::test]
async fn a_changed_header_goes_in_stream_where_the_format_wants_it() {
    let mount = mount(Limits { chunk_bytes: 1, ..SMALL });
    mount.change_header("one".into(), "in-one".into());
    push(&mount, "A");
    let mut reading = mount.subscribe();
    let mut stuck = mount.subscribe();
    assert_eq!(ready(&mut reading).await, ["one", "A"]);
    assert_eq!(stuck.next().await.as_deref(), Some(&b"one"[..]));
    push(&mount, "b");
    mount.change_header("two".into(), "in-two".into());
    push(&mount, "C");
    assert_eq!(ready(&mut reading).await, ["b", "in-two", "C"]);
    push(&mount, "d e f G h");
    // It missed the header in the stream, and gets it where it goes on.
    assert_eq!(ready(&mut stuck).await, ["in-two", "G", "h"]);
    push(&mount, "i j k L");
    assert_eq!(ready(&mut stuck).await[0], "i", "only once");
    assert_eq!(ready(&mut mount.subscribe()).await, ["two", "L"]);
}

#[tokio::test]
async fn who_joins_after_an_interruption_waits_for_fresh_pictures() {
    let mount = mount(Limits::default());
    mount.set_header("h".into());
    push(&mount, "A b");
    mount.interrupt();
    let mut reader = mount.subscribe();
    assert_eq!(ready(&mut reader).await, [""; 0]);
    push(&mount, "C");
    assert_eq!(ready(&mut reader).await, ["h", "C"]);
}

#[tokio::test]
async fn closing_ends_readers_after_what_is_there() {
    let mount = mount(Limits::default());
    let mut waiting = mount.subscribe();
    mount.set_header("h".into());
    push(&mount, "A");
    let mut reader = mount.subscribe();
    mount.close();
    assert_eq!(ready(&mut reader).await, ["h", "A", "end"]);
    assert_eq!(ready(&mut waiting).await, ["h", "A", "end"]);
    let empty = Mount::new("e", "audio/aac", Limits::default());
    let mut reader = empty.subscribe();
    let ended = tokio::spawn(async move { reader.next().await });
    empty.close();
    assert_eq!(tokio::time::timeout(DEADLINE, ended).await.unwrap().unwrap(), None);
}

#[test]
fn memory_is_bounded_by_bytes_whatever_the_frames() {
    for size in [0, 1, 1000, 5000] {
        let mount = mount(Limits { ring_bytes: 20_000, ..Limits::default() });
        let _never_reads = mount.subscribe();
        for n in 0..2000 {
            mount.push(Frame { data: vec![0; size].into(), sync: n % 50 == 0 });
            assert!(mount.stats().ring_bytes <= 20_000);
        }
    }
}

/// Readers in their own tasks on several threads, a producer that does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_lose_nothing_and_no_wake_up() {
    const FRAMES: u32 = 3000;
    let mount = mount(Limits { header: false, ..Limits::default() });
    mount.push(Frame { data: 0u32.to_be_bytes().to_vec().into(), sync: true });
    let readers: Vec<_> = (0..200)
        .map(|_| {
            let mut reader = mount.subscribe();
            tokio::spawn(async move {
                let mut all = Vec::new();
                while let Some(chunk) = reader.next().await {
                    all.extend_from_slice(&chunk);
                }
                all
            })
        })
        .collect();
    for n in 1..FRAMES {
        mount.push(Frame { data: n.to_be_bytes().to_vec().into(), sync: false });
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    mount.close();
    let wanted: Vec<u8> = (0..FRAMES).flat_map(u32::to_be_bytes).collect();
    for reader in readers {
        let got = tokio::time::timeout(DEADLINE, reader).await.expect("a reader hangs").unwrap();
        assert_eq!(got.len(), wanted.len());
        assert!(got == wanted);
    }
    assert_eq!(mount.clients(), 0);
    assert_eq!(mount.stats().bytes_out, 200 * wanted.len() as u64);
}

/// A wake-up lost between looking and waiting would hang this within a few rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_pong() {
    let limits = Limits { header: false, ..Limits::default() };
    let (there, back) = (mount(limits), mount(limits));
    let echo = {
        let (mut reader, back) = (there.subscribe(), back.clone());
        tokio::spawn(async move {
            while let Some(data) = reader.next().await {
                back.push(Frame { data, sync: true });
            }
        })
    };
    let mut reader = back.subscribe();
    for n in 0..5000u32 {
        let data = Bytes::copy_from_slice(&n.to_be_bytes());
        there.push(Frame { data: data.clone(), sync: true });
        let answer = tokio::time::timeout(DEADLINE, reader.next()).await.expect("a lost wake-up");
        assert_eq!(answer, Some(data));
    }
    there.close();
    echo.await.unwrap();
}

proptest! {
    /// Whatever is pushed and however rarely a reader looks: it gets whole frames, in order, and
    /// after every gap goes on at a sync point.
    #[test]
    fn gaps_end_at_sync_points(
        plan in prop::collection::vec((any::<bool>(), 0usize..200, any::<bool>()), 1..200),
        ring_bytes in 100usize..3000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let limits = Limits { ring_bytes, chunk_bytes: 0, max_skips: u32::MAX, header: false, ..SMALL };
        let mount = mount(limits);
        let mut reader = mount.subscribe();
        let mut got = Vec::new();
        for (n, (sync, size, look)) in plan.iter().enumerate() {
            let data = [&(n as u32).to_be_bytes()[..], &vec![0; *size]].concat();
            mount.push(Frame { data: data.into(), sync: *sync });
            if *look {
                let chunk = runtime.block_on(async {
                    tokio::select! { biased; chunk = reader.next() => chunk, () = std::future::ready(()) => None }
                });
                got.extend(chunk);
            }
        }
        let mut last = None;
        for chunk in got {
            let n = u32::from_be_bytes(chunk[..4].try_into().unwrap()) as usize;
            prop_assert_eq!(chunk.len(), 4 + plan[n].1);
            if last.is_none_or(|last| n != last + 1) {
                prop_assert!(plan[n].0, "went on at {}, which is no sync point", n);
                prop_assert!(last.is_none_or(|last| n > last));
            }
            last = Some(n);
        }
    }
}
