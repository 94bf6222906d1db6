use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn index(key: &str) -> usize {
    OPTIONS.iter().position(|option| option.key == key).unwrap()
}

fn text(config: &Config, key: &str) -> String {
    OPTIONS[index(key)].field.text(&mut config.settings.clone())
}

fn faults(name: &str, content: &str) -> String {
    let folder = Folder::new();
    let path = folder.file(name, content);
    check(&path, &Environment::default()).unwrap_err().to_string()
}

#[test]
fn the_later_source_wins() {
    let folder = Folder::new();
    let file = folder.file(
        "courant.toml",
        "data = \"from-file\"\n[native]\nping_every = \"1s\"\nconnections_max = 5\n",
    );
    let environment = Environment::of(&[
        ("COURANT_NATIVE_PING_EVERY", "2s"),
        ("COURANT_DATA", "from-environment"),
    ]);
    let values = vec![(index("data"), "from-flag".to_owned())];
    let sources = Sources { flags: Flags { file: Some(file.clone()), values }, environment };
    let config = sources.load().unwrap();
    for (key, value, origin) in [
        ("data", "from-flag", Origin::Flag("data".to_owned())),
        ("native.ping_every", "2s", Origin::Variable("COURANT_NATIVE_PING_EVERY".to_owned())),
        ("native.connections_max", "5", Origin::File(file)),
        ("log.level", "info", Origin::Default),
    ] {
        assert_eq!(text(&config, key), value);
        assert_eq!(config.origins[index(key)], origin, "{key}");
    }
}

#[test]
fn a_file_is_named_by_flag_before_variable() {
    let folder = Folder::new();
    let one = folder.file("one.toml", "data = \"one\"");
    let two = folder.file("two.toml", "data = \"two\"");
    let environment = Environment::of(&[("COURANT_CONFIG", two.to_str().unwrap())]);
    let mut sources = Sources { flags: Flags::default(), environment };
    assert_eq!(text(&sources.load().unwrap(), "data"), "two");
    sources.flags.file = Some(one);
    assert_eq!(text(&sources.load().unwrap(), "data"), "one");
}

#[test]
fn the_formats_mean_the_same() {
    let folder = Folder::new();
    for (name, content) in [
        ("a.toml", "data = \"d\"\n[native]\nconnections_max = 7\naddress = \"127.0.0.1:${P}\"\n"),
        (
            "a.json",
            "{\"data\":\"d\",\"native\":{\"connections_max\":7,\"address\":\"127.0.0.1:${P}\"}}",
        ),
        ("a.yaml", "data: d\nnative:\n  connections_max: 7\n  address: 127.0.0.1:${P}\n"),
        ("a.yml", "{data: d, native: {connections_max: '7', address: '127.0.0.1:${P}'}}"),
    ] {
        let path = folder.file(name, content);
        let config = check(&path, &Environment::of(&[("P", "99")])).unwrap();
        assert_eq!(text(&config, "data"), "d", "{name}");
        assert_eq!(text(&config, "native.connections_max"), "7", "{name}");
        assert_eq!(text(&config, "native.address"), "127.0.0.1:99", "{name}");
    }
    for (name, content) in [("e.toml", ""), ("e.json", "{}"), ("e.yaml", "")] {
        check(&folder.file(name, content), &Environment::default()).unwrap();
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    for (content, part) in [
        ("dta = \"x\"", "dta is no known key; did you mean data?"),
        ("[native]\nadress = \"x\"", "native.adress is no known key; did you mean native.address?"),
        ("[nativ]\naddress = \"x\"", "nativ is no known key"),
        ("ping_every = \"1s\"", "did you mean native.ping_every?"),
        ("zzz = 1", "zzz is no known key; docs/config.md"),
        ("[native.address]\nx = 1", "native.address = a table: allowed is HOST:PORT"),
    ] {
        let faults = faults("a.toml", content);
        assert!(faults.contains(part), "{content}: {faults}");
        assert!(faults.contains("a.toml: "), "{faults}");
    }
}

#[test]
fn a_wrong_value_names_place_key_value_and_what_is_allowed() {
    for (content, part) in [
        ("[log]\nlevel = \"loud\"", "log.level = loud: allowed is off, error, warn"),
        ("[log]\nlevel = 3", "log.level = 3: allowed is off"),
        ("[native]\nping_every = 15", "native.ping_every = 15: allowed is a time from 10ms to 1h"),
        ("[native]\nconnections_max = -1", "= -1: allowed is a number from 1 to 1000000"),
        ("[native]\nconnections_max = [1]", "= a list: allowed is a number"),
        ("[storage]\nsegment_bytes = \"1 KiB\"", "allowed is a size from 64 KiB to 1 GiB"),
        ("data = \"\"", "data = : allowed is a path"),
        ("data = \"${NOBODY}\"", "data: the variable NOBODY is not set"),
    ] {
        let faults = faults("a.toml", content);
        assert!(faults.contains(part), "{content}: {faults}");
    }
    let environment = Environment::of(&[("COURANT_LOG_LEVEL", "loud")]);
    let sources = Sources { flags: Flags::default(), environment };
    let faults = sources.load().unwrap_err().to_string();
    assert!(faults.starts_with("environment COURANT_LOG_LEVEL: log.level = loud: "), "{faults}");
}

#[test]
fn all_faults_are_named_at_once() {
    let faults = faults("a.toml", "dta = 1\n[log]\nlevel = \"loud\"\nformat = \"xml\"\n");
    assert_eq!(faults.lines().count(), 3, "{faults}");
}

#[test]
fn what_is_no_file_of_its_kind_is_refused() {
    for (name, content, part) in [
        ("a.ini", "", "has to end in .toml"),
        ("a", "", "has to end in .toml"),
        ("a.toml", "data = ", "line 1"),
        ("a.json", "{\"data\": 1,}", "line 1"),
        ("a.json", "[]", "not a list"),
        ("a.yaml", "data: [", "line"),
        ("a.yaml", "- a", "not a list"),
        ("a.toml", "data = \"a\"\ndata = \"b\"", "duplicate"),
        ("a.json", "{\"data\": \"a\", \"data\": \"b\"}", "the key data is there twice"),
        ("a.yaml", "data: a\ndata: b", "the key data is there twice"),
        ("a.yaml", "log: {level: info, level: warn}", "the key level is there twice"),
    ] {
        let faults = faults(name, content);
        assert!(faults.contains(part), "{name} {content}: {faults}");
    }
    let missing = check(Path::new("/nowhere/a.toml"), &Environment::default()).unwrap_err();
    assert!(missing.to_string().contains("cannot read /nowhere/a.toml"), "{missing}");
}

#[test]
fn files_that_swell_or_nest_are_refused() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(faults("a.json", &format!("{{\"data\": {deep}}}")).contains("recursion"));
    faults("a.yaml", &format!("data: {deep}"));
    faults("a.toml", &format!("data = {deep}"));
    faults("a.yaml", &"- ".repeat(100_000));
    faults("a.yaml", &"? ".repeat(100_000));
    let long = format!("data = \"{}\"", "x".repeat(2 << 20));
    assert!(faults("a.toml", &long).contains("longer than"));
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (name, of) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f")] {
        let inner = vec![format!("*{of}"); 9].join(", ");
        let _ = writeln!(bomb, "{name}: &{name} [{inner}]");
    }
    faults("a.yaml", &bomb);
}

#[test]
fn a_variable_that_is_nearly_ours_is_noticed() {
    let environment = Environment::of(&[
        ("COURANT_LOG_LEVL", "debug"),
        ("COURANT_ADDR", "x"),
        ("COURANT_DATA", "d"),
        ("COURANT_PORT_7530_TCP_PROTO", "tcp"),
    ]);
    let slip = ("COURANT_LOG_LEVL".to_owned(), "COURANT_LOG_LEVEL".to_owned());
    assert_eq!(environment.slips(), [slip]);
}
