use super::*;

const FILE: &str = "admin: { address: \"0.0.0.0:8404\", token: of-the-file }\n";

struct Given {
    config: Option<&'static str>,
    admin: Option<&'static str>,
    token_file: Option<&'static str>,
    variable: Option<&'static str>,
}

const NOTHING: Given = Given { config: None, admin: None, token_file: None, variable: None };

/// `(place, token)` or the reason.
fn found(given: Given) -> Result<(String, Option<String>), String> {
    let dir = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let options = Options {
        config: given.config.map(|text| file("c.yaml", text)),
        admin: given.admin.map(str::to_owned),
        token_file: given.token_file.map(|text| file("token", text)),
    };
    let target = options.find_in(&Environment::of(given.variable.map(|value| (TOKEN_VARIABLE, value))))?;
    Ok((target.place.to_string(), target.token.map(|token| token.reveal())))
}

#[test]
fn the_file_says_where_and_by_which_token() {
    let (place, token) = found(Given { config: Some(FILE), ..NOTHING }).unwrap();
    assert_eq!((place.as_str(), token.as_deref()), ("127.0.0.1:8404", Some("of-the-file")));
}

#[test]
fn a_token_file_goes_before_the_environment_and_that_before_the_configuration() {
    let token = |given| found(given).unwrap().1;
    let variable = Some("of-the-environment");
    assert_eq!(token(Given { config: Some(FILE), variable, ..NOTHING }).as_deref(), Some("of-the-environment"));
    let given = Given { config: Some(FILE), variable, token_file: Some("of-the-token-file\n"), ..NOTHING };
    assert_eq!(token(given).as_deref(), Some("of-the-token-file"));
    assert_eq!(token(Given { config: Some(FILE), variable: Some(""), ..NOTHING }).as_deref(), Some("of-the-file"));
    assert!(found(Given { config: Some(FILE), token_file: Some("\n"), ..NOTHING }).is_err());
}

#[test]
fn the_token_of_the_file_only_goes_elsewhere_when_the_file_was_named() {
    let admin = Some("gate-2:8404");
    assert_eq!(found(Given { admin, ..NOTHING }).unwrap(), ("gate-2:8404".to_owned(), None));
    let (place, token) = found(Given { admin, config: Some(FILE), ..NOTHING }).unwrap();
    assert_eq!((place.as_str(), token.as_deref()), ("gate-2:8404", Some("of-the-file")));
}

#[test]
fn a_file_that_says_no_address_is_a_reason() {
    for text in ["routes: []", "admin: {}", "admin: { address: \"127.0.0.1:0\" }", "admin: { address: x }", ""] {
        let reason = found(Given { config: Some(text), ..NOTHING }).unwrap_err();
        assert!(reason.contains("c.yaml") && reason.contains("--admin"), "{reason}");
    }
}

#[test]
fn an_admin_address_is_host_and_port_or_a_socket() {
    for (text, place) in [
        ("127.0.0.1:8404", "127.0.0.1:8404"),
        ("[::1]:8404", "[::1]:8404"),
        ("gate.example.com:1", "gate.example.com:1"),
        ("http://127.0.0.1:8404/", "127.0.0.1:8404"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), place);
    }
    for text in
        ["", "unix:", "127.0.0.1", "127.0.0.1:", ":8404", "::1:8404", "a:99999", "https://a:1", "a@b:1", "a/b:1"]
    {
        assert!(parse(text).is_err(), "{text}");
    }
}
