//! Fenced blocks of a Markdown page.

/// The text of each block that is fenced by three backticks and marked `language`.
pub fn fenced(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<(bool, String)> = None;
    for line in page.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, block.take()) {
            (Some(marked), None) => block = Some((marked.trim() == language, String::new())),
            (Some(_), Some((wanted, text))) => {
                if wanted {
                    blocks.push(text);
                }
            }
            (None, Some((wanted, text))) => block = Some((wanted, text + line + "\n")),
            (None, None) => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::fenced;

    #[test]
    fn only_the_marked_blocks_are_taken() {
        let page =
            "a\n```sh\none\ntwo\n```\n```text\nthree\n```\n```\nfour\n```\n```sh\nfive\n```\n";
        assert_eq!(fenced(page, "sh"), ["one\ntwo\n", "five\n"]);
    }
}
