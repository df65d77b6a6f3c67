//! The file of credentials of Flow.

use super::*;

/// What becomes of a file with this text: the keys as `name weight client tenant`, or what is told.
fn read(text: &str) -> Result<Vec<String>, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secrets.json");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = provider(&format!("kind: flow, credentials: {}", file.display()));
    match load_text(&text) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings, []);
            let ai = loaded.config.ai.unwrap();
            let one = |key: &ProviderKey| match &key.secret {
                KeySecret::Flow { client_id, tenant, .. } => {
                    format!("{} {} {client_id} {tenant}", key.name, key.weight)
                }
                KeySecret::Plain(_) => panic!("credentials were expected"),
            };
            Ok(ai.providers[0].keys.iter().map(one).collect())
        }
        Err(errors) => {
            let shown = errors.to_string();
            assert!(!shown.contains("hunter2"), "{shown}");
            let told = errors.problems.iter().map(|problem| {
                assert_eq!(problem.key, "ai.providers.p.credentials");
                let prefix = format!("{}: ", file.display());
                problem.message.strip_prefix(&prefix).unwrap_or_else(|| panic!("{}", problem.message)).to_owned()
            });
            Err(told.collect())
        }
    }
}

fn told(text: &str) -> Vec<String> {
    read(text).expect_err("this loaded")
}

const GOOD: &str = "{ name: 'a', clientId: 'i', clientSecret: 'hunter2', tenant: 't' }";

#[test]
fn it_is_json_as_people_write_it() {
    for text in [
        r#"[{"name":"a","clientId":"i","clientSecret":"hunter2","tenant":"t"}]"#,
        "[{ name: 'a', clientId: \"i\", clientSecret: 'hunter2', tenant: 't', }, ]",
        "// who\n[ /* one */ { 'name': 'a', clientId: 'i', clientSecret: 'hunter2', tenant: 't', agent: 'x', appToAccess: 'y' } ] // end\n",
        "\u{feff}[{\n\tname: 'a',\r\n\tclientId: 'i',\r\n\tclientSecret: 'hunter2',\r\n\ttenant: 't' }]\r\n",
    ] {
        assert_eq!(read(text), Ok(vec!["a 1 i t".to_owned()]), "{text}");
    }
}

#[test]
fn an_entry_that_stands_there_again_has_a_larger_share() {
    let other = GOOD.replace("'a'", "'b'").replace("hunter2", "hunter2b");
    assert_eq!(read(&format!("[{GOOD}, {other}, {GOOD}, {GOOD}]")), Ok(vec!["a 3 i t".into(), "b 1 i t".into()]));
}

#[test]
fn what_is_missing_or_empty_is_named_with_its_entry_and_all_of_it_at_once() {
    let second = "{ name: 'b', clientId: '', clientSecret: 'hunter2b' }";
    assert_eq!(told(&format!("[{GOOD}, {second}]")), ["[1].clientId is empty", "[1].tenant is missing"]);
    assert_eq!(told(&GOOD.replace("'t'", "'  '").replace('{', "[{").replace('}', "}]")), ["[0].tenant is empty"]);
    assert_eq!(told("[{}]").len(), 4);
    assert_eq!(told("[]"), ["the list is empty"]);
}

#[test]
fn what_contradicts_another_entry_is_refused() {
    let secret = GOOD.replace("hunter2", "hunter2b");
    assert_eq!(told(&format!("[{GOOD}, {secret}]")), ["[1].name is that of [0], and the credentials are others"]);
    let name = GOOD.replace("'a'", "'b'");
    assert_eq!(told(&format!("[{GOOD}, {name}]")), ["[1] has the credentials of [0] under another name"]);
}

#[test]
fn a_shape_that_is_none_of_these_is_told_with_its_place_and_without_its_value() {
    for (text, message) in [
        (
            format!("[{GOOD}, {}]", GOOD.replace("'hunter2'", "['hunter2']")),
            "[1].clientSecret: a list stands here; expected a string at line 1",
        ),
        (
            GOOD.replace("'hunter2'", "20220202").replace('{', "[{").replace('}', "}]"),
            "[0].clientSecret: a number stands here",
        ),
        (format!("[{}]", GOOD.replace("'i'", "null")), "[0].clientId: null stands here"),
        (format!("[{}]", GOOD.replace("'i'", "{}")), "[0].clientId: a map stands here"),
        (format!("[{}]", GOOD.replace("clientId", "clientID")), "[0]: a field is unknown, did you mean clientId?"),
        (format!("[{}]", GOOD.replace("{ ", "{ name: 'c', ")), "[0]: name stands here twice"),
        (GOOD.to_owned(), "not valid JSON: expected opening bracket at line 1, column 1"),
        (format!("[{GOOD}"), "not valid JSON: EOF parsing array"),
        (format!("[{GOOD}] hunter2"), "not valid JSON: trailing characters at line 1, column"),
        ("['hunter2']".to_owned(), "not valid JSON: expected opening brace"),
        (String::new(), "not valid JSON: EOF parsing array"),
        (format!("[{}]", GOOD.replace("'a'", "'a b'")), "[0].name is no name"),
        (format!("[{}]", GOOD.replace("hunter2", "changeme")), "[0].clientSecret is a well-known placeholder"),
        (format!("[{}]", GOOD.replace("'t'", "'a\\nb'")), "[0].tenant is too long, or has control characters"),
    ] {
        let told = told(&text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(message), "{}\n{message}", told[0]);
    }
}

#[test]
fn depth_and_size_have_bounds() {
    for deep in
        ["[".repeat(500_000), format!("[{{ name: {}", "[".repeat(500_000)), format!("[{{ x: {}", "{y:".repeat(200_000))]
    {
        assert_eq!(told(&deep).len(), 1);
    }
    let many = format!("[{}]", format!("{GOOD},").repeat(1_001));
    assert_eq!(told(&many), ["the list has 1001 entries; 1000 are the most"]);
    let large = format!("[{GOOD}]{}", " ".repeat(1 << 20));
    assert_eq!(told(&large), ["the file is larger than 1048576 bytes"]);
}

#[test]
fn a_file_that_is_not_there_is_an_error_and_one_that_everyone_reads_is_warned_of() {
    let text = provider("kind: flow, credentials: /nonexistent/secrets.json");
    assert_eq!(told_of(&text), ["ai.providers.p.credentials: /nonexistent/secrets.json: the file does not exist"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s.json");
    std::fs::write(&file, format!("[{GOOD}]")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let told = warnings(&provider(&format!("kind: flow, credentials: {}", file.display())));
    assert!(told[0].contains("everyone on this machine may read"), "{told:?}");
}

fn told_of(text: &str) -> Vec<String> {
    refused(text).problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_panics_and_none_shows_a_secret(at in 0_usize..70, cut in 0_usize..9, piece in "[\\[\\]{}'\":,/*\\\\\u{0} a1\n\u{2028}]{0,4}") {
        let mut text: Vec<char> = format!("[{GOOD}]").chars().collect();
        let start = at.min(text.len());
        let end = (start + cut).min(text.len());
        text.splice(start..end, piece.chars());
        let text: String = text.into_iter().collect();
        if let Err(told) = read(&text.replace("hunter2", "hunter2hunter2")) {
            proptest::prop_assert!(!told.is_empty());
        }
    }
}
