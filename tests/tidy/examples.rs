//! The examples of README.md are the programs in `examples/`, letter by letter, so that what is pasted was
//! compiled and run.

use super::files::{File, assert_tidy, project};

/// Files in `examples/` and how README.md marks their language.
const LANGUAGES: [(&str, &str); 2] = [(".rs", "rust"), (".py", "python")];

#[test]
fn readme_shows_the_examples() {
    let files = project();
    let readme = files.iter().find(|file| file.path == "README.md").expect("README.md");
    let examples: Vec<_> = files.iter().filter(|file| file.path.starts_with("examples/")).collect();
    assert!(examples.len() >= 4, "a consumer and a publisher in two languages");
    let hidden = examples.iter().filter(|example| !shows(readme, example));
    assert_tidy(
        hidden.map(|example| example.fault(1, "README.md shows another text: copy it there")).collect(),
    );
}

fn shows(readme: &File, example: &File) -> bool {
    let language = LANGUAGES.iter().find(|(suffix, _)| example.path.ends_with(suffix)).map(|(_, name)| *name);
    readme.text.contains(&format!("```{}\n{}```\n", language.unwrap_or_default(), example.text))
}

#[test]
fn another_text_is_noticed() {
    let example = File::new("examples/x.py", "import pika\n");
    assert!(shows(&File::new("README.md", "# X\n```python\nimport pika\n```\n"), &example));
    assert!(!shows(&File::new("README.md", "# X\n```python\nimport  pika\n```\n"), &example));
}
