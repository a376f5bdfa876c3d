use proptest::prelude::*;

use super::super::{Row, VERSION};
use super::*;

fn row(title: &str, light: Light, says: &str, todo: &str) -> Row {
    Row {
        id: title.to_lowercase(),
        title: title.to_owned(),
        light,
        says: says.to_owned(),
        todo: todo.to_owned(),
    }
}

fn picture(rows: Vec<Row>) -> Picture {
    Picture {
        v: VERSION,
        at: "2026-02-03T04:05:06Z".parse().unwrap(),
        room: "hall".into(),
        device: "box-1".into(),
        addresses: vec!["192.0.2.7".into(), "2001:db8::7".into()],
        light: Light::Green,
        headline: "All is well: the room is being streamed.".into(),
        rows,
        source: String::new(),
        preview: None,
        version: "1.2.0".into(),
        board: "rpi4".into(),
        details: Vec::new(),
        can_change: true,
    }
}

fn text(picture: &Picture, token: &str) -> Vec<String> {
    layout(picture, token)
        .into_iter()
        .map(|line| match line {
            Line::Plain(text) | Line::Bold(text) | Line::Lit(_, text) => text,
        })
        .collect()
}

#[test]
fn what_a_screen_shows() {
    let shown = picture(vec![
        row("Power", Light::Green, "The box has power; it is 52 °C warm.", ""),
        row(
            "Network",
            Light::Red,
            "No cable.",
            "Plug the network cable in; the light beside the socket must blink.",
        ),
        row("Sending", Light::Grey, "1280×720", ""),
    ]);
    assert_eq!(
        text(&shown, "abcd-efgh"),
        [
            " Backrow: room hall",
            " All is well: the room is being streamed.",
            "",
            " OK  Power       The box has power; it is 52 C warm.",
            " !!  Network     No cable.",
            "                 Plug the network cable in; the light beside the socket must",
            "                 blink.",
            " ..  Sending     1280x720",
            "",
            " Its page: http://192.0.2.7/ or http://box-1.local/",
            " Token for changing things there: abcd-efgh",
            " Version 1.2.0",
        ]
    );
}

#[test]
fn colours_are_only_beside_words_and_the_screen_turns_when_the_box_is_looked_for() {
    let shown = picture(vec![row("Power", Light::Red, "Weak.", "")]);
    let drawn = draw(&shown, "", false);
    assert!(drawn.starts_with("\x1b[?5l") && drawn.contains("\x1b[1;37;41m !! \x1b[0m Power"));
    assert!(draw(&shown, "", true).starts_with("\x1b[?5h"));
}

#[tokio::test]
async fn it_is_drawn_again_when_something_changes() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    let tty = paths.system("dev/tty1");
    std::fs::create_dir_all(tty.parent().unwrap()).unwrap();
    std::fs::write(&tty, "").unwrap();
    let sender = watch::Sender::new(Arc::new(picture(Vec::new())));
    let (_identify, looked_for) = watch::channel(false);
    let cancel = CancellationToken::new();
    let seen = sender.subscribe();
    let task = tokio::spawn({
        let (paths, cancel) = (paths.clone(), cancel.clone());
        async move { run(&paths, seen, looked_for, cancel).await }
    });
    let shows = async |words: &str| {
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        while !std::fs::read_to_string(&tty).unwrap().contains(words) {
            assert!(tokio::time::Instant::now() < end, "the screen never said {words:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    shows("All is well").await;
    let mut next = picture(Vec::new());
    next.headline = "One thing to look at.".into();
    sender.send_replace(Arc::new(next));
    shows("One thing to look at.").await;
    cancel.cancel();
    task.await.unwrap();
}

proptest! {
    #[test]
    fn it_always_fits_and_steers_nothing(
        rows in prop::collection::vec((any::<String>(), 0usize..4, any::<String>(), ".{0,400}"), 0..14),
        room in any::<String>(), token in any::<String>(),
    ) {
        let lights = [Light::Grey, Light::Green, Light::Amber, Light::Red];
        let rows = rows.iter().map(|(title, light, says, todo)| row(title, lights[*light], says, todo));
        let mut shown = picture(rows.collect());
        shown.room = room;
        let lines = text(&shown, &token);
        prop_assert!(lines.len() <= LINES);
        for line in lines {
            prop_assert!(line.len() <= COLUMNS, "{line:?}");
            prop_assert!(line.chars().all(|it| (' '..='~').contains(&it)), "{line:?}");
        }
    }
}
