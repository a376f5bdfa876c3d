//! Each kind of mistake, and the whole of what is said about it.

use super::{encoder_error, encoder_with, site_error, site_with};

/// Each mistake in a site, and the whole of what is said about it.
#[test]
fn mistakes_in_a_site() {
    let address = "it must be an address that begins with http:// or https:// or rtmp:// or rtmps://, \
                   for example: url = \"https://enc.example.org\"";
    let broker = "it must be an address that begins with mqtt:// or mqtts://, for example: \
                  url = \"mqtt://broker.example.org:1883\"";
    let rate = "it must be a bit rate from 8k to 100M, for example: bitrate = \"1500k\"";
    let cases = [
        ("[uplink]\nmemory = \"64Mb/s\"", "6:10: `memory` in [uplink] is \"64Mb/s\": \"Mb/s\" is not a unit: use one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB; it must be a size, for example: memory = \"64MiB\"".to_owned()),
        ("[uplink]\nmemory = \"1\"", "6:10: `memory` in [uplink] is 1B; it must be at least 1MiB, a few seconds".to_owned()),
        ("[video]\nwidth = 641", "6:9: `width` in [video] is 641; it must be even, for example: width = 642".to_owned()),
        ("[video]\nheight = 99999", "6:10: `height` in [video] is 99999: it is too large; it must be a whole number from 64 to 4320, for example: height = 720".to_owned()),
        ("[video]\nframerate = -1", "6:13: `framerate` in [video] is -1: it is out of range; it must be a whole number from 1 to 120, for example: framerate = 25".to_owned()),
        ("[video]\nbitrate = \"15x\"", format!("6:11: `bitrate` in [video] is \"15x\": \"x\" is not a unit: use one of k, M, kbit/s, Mbit/s, bit/s; {rate}")),
        ("[video]\nbitrate = 1.5", format!("6:11: `bitrate` in [video] is a number with a point; {rate}")),
        ("[video]\nbitrate = 12", format!("6:11: `bitrate` in [video] is 12: it is too small; {rate}")),
        ("[video]\nbitrate = 0xffff_ffff_ffff", format!("6:11: `bitrate` in [video] is 0xffffffffffff: it is too large; {rate}")),
        ("[source]\nkind = \"v4l\"", "6:8: `kind` in [source] is \"v4l\"; it must be one of \"auto\", \"v4l2\", \"dv\", \"mixer\", \"file\", \"test\"; did you mean \"v4l2\"?".to_owned()),
        ("[source]\nkind = \"file\"", "6:8: `path` is missing in [source]; a file source needs one, for example: path = \"talk.mp4\"".to_owned()),
        ("[source]\nkind = \"mixer\"", "6:8: `address` is missing in [source]; a mixer needs one, for example: address = \"mixer:11000\"".to_owned()),
        ("[source]\naddress = \"mixer\"", "6:11: `address` in [source] must be a host and a port, for example: address = \"mixer:11000\"".to_owned()),
        ("[source]\nguid = \"123\"", "6:8: `guid` in [source] must be 16 hexadecimal digits, for example: guid = \"0x080046010203abcd\"; `collector devices` shows it".to_owned()),
        ("[source]\npath = \"\"", "6:8: `path` in [source] is \"\": it is empty; it must be a path (one that does not begin with / starts at this file), for example: path = \"ca.pem\"".to_owned()),
        ("[audio]\nchannels = \"mono\"", "6:12: `channels` in [audio] is \"mono\"; it must be one of \"stereo\", \"left\", \"right\", \"mix\", \"swap\"".to_owned()),
        ("[mqtt]", format!("5:1: `url` is missing in [mqtt]; {}", broker.replace("must be", "is"))),
        ("[mqtt]\nurl = \"broker:1883\"", format!("6:7: `url` in [mqtt]: the scheme is missing; {broker}")),
        ("[mqtt]\nurl = \"http://broker\"", format!("6:7: `url` in [mqtt]: http:// is not a scheme for it; {broker}")),
        ("[mqtt]\nurl = \"mqtt://b\"\npassword = \"x\"", "7:12: `password` in [mqtt] is of no use without `username`; add `username` or remove it".to_owned()),
        ("[mqtt]\nurl = \"mqtts://b\"\nkey = \"k\"", "7:7: `key` in [mqtt] is of no use without `certificate`; add `certificate` or remove it".to_owned()),
        ("[mqtt]\nurl = \"mqtt://b\"\nca = \"x\"", "7:6: `ca` in [mqtt] is of no use without encryption; write mqtts:// in `url` or remove it".to_owned()),
        ("[mqtt]\nurl = \"mqtt://b\"\nhome_assistant = \"a/#\"", "7:18: `home_assistant` in [mqtt] is \"a/#\": it may have letters, digits, . - and _, parted by /; it must be the beginning of a topic or \"off\", for example: home_assistant = \"homeassistant\"".to_owned()),
        ("kind = auto", "5:8: not valid TOML: string values must be quoted, expected literal string".to_owned()),
        ("token = \"again-and-again\"", "5:1: not valid TOML: duplicate key".to_owned()),
    ];
    for (more, expected) in cases {
        assert_eq!(site_with(more), format!("site.toml:{expected}"), "{more}");
    }
    let cases = [
        ("ftp://x", format!("3:5: `url` in [encoder]: ftp:// is not a scheme for it; {address}")),
        ("https://", format!("3:5: `url` in [encoder]: empty host; {address}")),
        ("enc.example.org", format!("3:5: `url` in [encoder]: the scheme is missing; {address}")),
        ("https://x y", format!("3:5: `url` in [encoder]: there is a space in it; {address}")),
        ("rtmp://x/app", "3:5: `url` in [encoder]: an RTMP address needs an application and a stream key: url = \"rtmp://host/app/key\"".to_owned()),
    ];
    for (url, expected) in cases {
        let text = format!("room = \"demo\"\n[encoder]\nurl=\"{url}\"\n");
        assert_eq!(site_error(&text), format!("site.toml:{expected}"), "{url}");
    }
    assert_eq!(
        site_error(""),
        format!(
            "site.toml:1:1: `room` is missing at the top level; it is a name, for example: \
             room = \"main-hall\"\nsite.toml:1:1: `url` is missing in [encoder]; {}",
            address.replace("must be", "is")
        )
    );
    assert_eq!(
        site_error(
            "room = \"x\"\n[encoder]\nurl = \"rtmp://x/app/key\"\ntoken = \"correct-horse\""
        ),
        "site.toml:4:9: `token` in [encoder] is not for RTMP; write the stream key at the end of `url`: \
         rtmp://host/app/key"
    );
    assert_eq!(
        site_error("room = \"x\"\nencoder = 1"),
        format!(
            "site.toml:2:11: `encoder` at the top level is a whole number; it must be a table: write \
             [encoder] on a line of its own and its keys below\nsite.toml:2:11: `url` is missing in \
             [encoder]; {}",
            address.replace("must be", "is")
        )
    );
}

/// Each mistake in an encoder's file, and the whole of what is said about it.
#[test]
fn mistakes_in_an_encoder() {
    let listen = |key: &str| {
        format!(
            "it must be an address and a port to listen on (port 0: any free one), for example: \
             {key} = \"0.0.0.0:8080\""
        )
    };
    let list = |key: &str| {
        format!(
            "it must be a list of tables: write [[{key}]] on a line of its own and its keys below, \
             once for each"
        )
    };
    let cases = [
        ("[listen]\nhttp = \"8080\"", format!("5:8: `http` in [listen] is \"8080\": the port is missing; {}", listen("http"))),
        ("[listen]\nhttp = \"localhost:8080\"", format!("5:8: `http` in [listen] is \"localhost:8080\": before the port there must be an IP address; {}", listen("http"))),
        ("[listen]\nrtmp = \"0.0.0.0:99999\"", format!("5:8: `rtmp` in [listen] is \"0.0.0.0:99999\": the port is not 0 to 65535; {}", listen("rtmp"))),
        ("[listen]\nrtmp = \"0.0.0.0:8080\"", "5:8: `rtmp` in [listen] is 0.0.0.0:8080, and so is `http`; give one another port".to_owned()),
        ("[listen]\nhttp = true", format!("5:8: `http` in [listen] is true or false; {}", listen("http"))),
        ("[archive]\nmin_free = \"1 potato\"", "5:12: `min_free` in [archive] is \"1 potato\": \"potato\" is not a unit: use one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB; it must be a size, for example: min_free = \"64MiB\"".to_owned()),
        ("[hls]\nsegment = 2", "5:11: `segment` in [hls] is a whole number; it must be a length of time, for example: segment = \"2s\"".to_owned()),
        ("[hls]\nsegment = \"2\"", "5:11: `segment` in [hls] is \"2\": the unit is missing: one of ms, s, m, h, d; it must be a length of time, for example: segment = \"2s\"".to_owned()),
        ("[hls]\nsegment = \"1h\"", "5:11: `segment` in [hls] is 3600s; it must be from 500ms to 30s".to_owned()),
        ("[hls]\nwindow = 1", "5:10: `window` in [hls] is 1: it is out of range; it must be a whole number from 3 to 10000, for example: window = 25".to_owned()),
        ("[webm]\nhigh = \"on\"", "5:8: `high` in [webm] is \"on\": it does not begin with a number; it must be a bit rate from 8k to 100M or \"off\", for example: high = \"1500k\"".to_owned()),
        ("[[room]]\nname = \"demo\"\ntoken = \"correct-horse\"", "5:8: `name` in [[room]]: there is another room \"demo\"; rename one".to_owned()),
        ("[[room]]\nname = \"x\"\ntoken = \"\"", "6:9: `token` in [[room]]: the token is empty; it must be the room's token, at least 8 characters, for example: token = \"correct-horse-battery\"".to_owned()),
        ("[[room]]\nname = \"x\"", "4:1: `token` is missing in [[room]]; it is the room's token, at least 8 characters, for example: token = \"correct-horse-battery\"".to_owned()),
        ("[[ladder]]\nname = \"source\"\nheight = 240\nbitrate = \"250k\"", "5:8: `name` in [[ladder]] is \"source\": \"source\" cannot be a rendition name: it is taken by the system; choose another; it must be a name, for example: name = \"480p\"".to_owned()),
        ("[[ladder]]\nname = \"a\"\nheight = 241\nbitrate = \"250k\"", "6:10: `height` in [[ladder]] is 241; it must be even, for example: height = 242".to_owned()),
        ("[[ladder]]\nname=\"a\"\nheight=240\nbitrate=\"250k\"\n[[ladder]]\nname=\"a\"\nheight=240\nbitrate=\"250k\"", "9:6: `name` in [[ladder]]: there is another rendition \"a\"; rename one".to_owned()),
        ("[ladder]\nname = 1", format!("4:1: `ladder` at the top level is a table; {}", list("ladder"))),
    ];
    for (more, expected) in cases {
        assert_eq!(encoder_with(more), format!("encoder.toml:{expected}"), "{more}");
    }
    let no_room = "there is no room; add one:\n    [[room]]\n    name = \"main-hall\"\n    \
                   token = \"correct-horse-battery\"";
    let cases = [
        ("", format!("1:1: {no_room}")),
        ("room = []", format!("1:8: {no_room}")),
        ("room = \"x\"", format!("1:8: `room` at the top level is a text; {}", list("room"))),
        ("room = [1]", format!("1:9: `room` at the top level is a whole number; {}", list("room"))),
    ];
    for (text, expected) in cases {
        assert_eq!(encoder_error(text), format!("encoder.toml:{expected}"), "{text}");
    }
}
