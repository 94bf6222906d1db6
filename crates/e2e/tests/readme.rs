//! The README's commands, run. Whatever stands in its blocks marked `sh` is what a newcomer types,
//! so it has to work as written.
//!
//! A line that sets up (`cargo …`, or one that starts a broker) is not run here, but there have to
//! be exactly two of them; each other line runs in a shell, against a broker of the test's own.

use std::path::Path;

use courant_e2e::server::Server;
use courant_e2e::{binary, cli, markdown};

const PUBLISH: &str = r"printf 'one\ntwo\nthree\n' | courant pub queue:orders --declare --lines";
const SUBSCRIBE: &str = "courant sub queue:orders --count 3";

fn run(server: &Server, folder: &Path, line: &str) -> String {
    let address = server.address().expect("ready");
    let ended = cli::shell(address, line, folder).and_then(cli::Running::end);
    ended.and_then(cli::Ended::success).unwrap_or_else(|error| panic!("{line}: {error:#}"))
}

#[test]
fn the_first_commands_of_a_newcomer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data")).unwrap();
    assert_eq!(run(&server, folder.path(), PUBLISH), "");
    assert_eq!(run(&server, folder.path(), SUBSCRIBE), "one\ntwo\nthree\n");
    server.stop().unwrap();
}

#[test]
fn the_readme_says_what_works() {
    let root = binary::workspace();
    let page = std::fs::read_to_string(root.join("README.md")).expect("README.md exists");
    let commands: Vec<String> =
        markdown::fenced(&page, "sh").iter().flat_map(|block| commands_of(block)).collect();
    let (set_up, typed): (Vec<_>, Vec<_>) = commands.iter().partition(|line| sets_up(line));
    println!("set-up, not run here: {set_up:#?}");
    assert_eq!(set_up.len(), 2, "one starts the broker, one runs all tests: {set_up:#?}");
    assert!(set_up.iter().any(|line| line.contains("courant serve")), "{set_up:#?}");
    assert!(typed.iter().any(|line| line.contains("courant pub")), "{typed:#?}");

    let folder = tempfile::tempdir().unwrap();
    link_binary(folder.path());
    let server = Server::start(&folder.path().join("data")).unwrap();
    let mut output = String::new();
    for line in &typed {
        println!("$ {line}");
        output += &run(&server, folder.path(), line);
    }
    print!("{output}");
    assert!(output.contains("one\ntwo\nthree\n"), "{output}");
    server.stop().unwrap();
}

/// Lines that end in a backslash go on in the next one; comments and prompts are not typed.
fn commands_of(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    joined
        .lines()
        .map(|line| line.trim().trim_start_matches("$ ").to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn sets_up(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    let is_foreign = ["cargo", "git", "cd", "sudo", "apt-get", "curl"].contains(&first);
    // `cargo run -- pub` is a client; it is run as one.
    is_foreign || line.contains("courant serve")
}

/// So that `target/release/courant` works as well as `courant`.
fn link_binary(folder: &Path) {
    let release = folder.join("target").join("release");
    std::fs::create_dir_all(&release).expect("a folder");
    let binary = binary::path().expect("the binary");
    std::os::unix::fs::symlink(binary, release.join("courant")).expect("a link");
}

#[test]
fn continued_lines_comments_and_prompts() {
    let block = "# a comment\n$ courant pub queue:a \\\n  body\n\ncourant serve\n";
    assert_eq!(commands_of(block), ["courant pub queue:a    body", "courant serve"]);
    assert!(sets_up("courant serve") && sets_up("cargo xtask ci") && !sets_up("courant sub x"));
}
