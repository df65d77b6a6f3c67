use proptest::prelude::*;

use super::*;

fn given(words: &str) -> Permissions {
    Permissions::parse(words.split(' ').filter(|word| !word.is_empty())).unwrap()
}

fn allows(words: &str, needed: &str) -> bool {
    given(words).allows(&Permission::parse(needed).unwrap())
}

#[test]
fn what_each_permission_gives_where_a_route_names_one() {
    let needed = ["chat:read", "chat:write", "files:write", "chat:delete", "chat:run", "read", "write", "admin"];
    let matrix = [
        ("", "........"),
        ("*", "########"),
        ("admin", "########"),
        ("*:*", "########"),
        ("read", "#....#.."),
        ("write", ".##...#."),
        ("delete", "...#...."),
        ("read write", "###..##."),
        ("chat:read", "#......."),
        ("chat:*", "##.##..."),
        ("*:write", ".##...#."),
        ("*:run", "....#..."),
        ("chat:read files:write", "#.#....."),
        ("Chat:read", "........"),
        ("cha:read", "........"),
        ("chat:rea", "........"),
        ("admin:read", "........"),
    ];
    for (words, row) in matrix {
        for (needed, expected) in needed.iter().zip(row.chars()) {
            assert_eq!(allows(words, needed), expected == '#', "{words:?} for {needed}");
        }
    }
}

#[test]
fn what_each_permission_gives_where_the_method_decides() {
    let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"];
    let matrix = [
        ("", "........"),
        ("chat:read", "########"),
        ("*:read", "########"),
        ("*", "########"),
        ("admin", "########"),
        ("read", "###....."),
        ("write", "...###.."),
        ("delete", "......#."),
        ("read write delete", "#######."),
        ("read chat:*", "###....."),
    ];
    for (words, row) in matrix {
        for (method, expected) in methods.iter().zip(row.chars()) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(given(words).allows_method(&method), expected == '#', "{words:?} for {method}");
        }
    }
}

#[test]
fn what_is_no_permission_is_refused() {
    let long = format!("{}:read", "x".repeat(65));
    for word in ["", "x", "READ", "chat", "chat:", ":read", "a:b:c", "a b:c", "chat:re*d", "**", "chat:\n", &long] {
        assert!(Permissions::parse([word]).is_err(), "{word:?}");
        assert!(Permission::parse(word).is_err(), "{word:?}");
    }
    for word in ["*", "*:read", "chat:*", "*:*"] {
        assert!(Permission::parse(word).is_err(), "{word}: a route says which");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_what_a_route_asks_for_can_be_given(text in "[a-z*:]{0,12}|\\PC*") {
        if Permission::parse(&text).is_ok() {
            prop_assert!(allows(&text, &text));
        }
    }

    #[test]
    fn more_words_never_take_a_named_permission_away(first in "[ab]:[ab*]", second in "[ab*]:[ab]|read|\\*", needed in "[ab]:[ab]") {
        let both = [first.as_str(), second.as_str()].join(" ");
        prop_assert!(!allows(&first, &needed) || allows(&both, &needed));
    }
}

#[test]
fn a_caller_of_whom_nobody_says_anything_is_let_in_where_nothing_is_asked() {
    let caller = Permissions::unstated();
    assert!(caller.allows_method(&Method::DELETE));
    assert!(!caller.allows(&Permission::parse("chat:read").unwrap()) && !caller.allows(&Permission::Admin));
}

#[test]
fn a_permission_for_a_service_opens_its_doors_and_no_others() {
    let chat = Permissions::parse(["chat:read"]).unwrap();
    assert!(chat.allows_service("chat", &Method::POST) && !chat.allows_service("embedding", &Method::POST));
    let every = Permissions::parse(["*:write"]).unwrap();
    assert!(every.allows_service("chat", &Method::POST) && every.allows_service("tts", &Method::POST));
    let delete = Permissions::parse(["chat:delete"]).unwrap();
    assert!(!delete.allows_service("chat", &Method::POST));
    let read = Permissions::parse(["read"]).unwrap();
    assert!(!read.allows_service("chat", &Method::POST), "the flat words go by the method (row A3.02)");
    let write = Permissions::parse(["write"]).unwrap();
    assert!(write.allows_service("chat", &Method::POST));
    assert!(Permissions::unstated().allows_service("chat", &Method::POST));
}
