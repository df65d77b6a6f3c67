use http::{HeaderName, HeaderValue, Request};

use super::*;
use crate::balance::AdminState;
use crate::config::{Environment, Overrides};
use crate::proxy::local::Probe;

const TOKEN: &str = "t0k3n-of-the-test-4711";

fn config(token: &str) -> Config {
    let text = format!(
        "listen: [127.0.0.1:1]\nserver: {{ instance_id: gate-7 }}\nadmin: {{ address: 127.0.0.1:2{token} }}\n\
         pools: {{ app: {{ members: [127.0.0.1:3] }} }}\nroutes: [{{ match: {{ path: / }}, pool: app }}]\n",
    );
    crate::config::parse("t.yaml", &text, &Overrides::default(), &Environment::of([])).unwrap().config
}

fn guarded() -> Config {
    config(&format!(", token: {TOKEN}"))
}

fn head(fields: &[(&'static str, &str)]) -> Parts {
    let mut request = Request::new(());
    for (name, value) in fields {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    request.into_parts().0
}

fn tcp() -> Peer {
    Peer::Tcp("127.0.0.1:9".parse().unwrap())
}

fn drain() -> Endpoint<'static> {
    Endpoint::Member { pool: "app".into(), member: "a".into(), to: AdminState::Drain }
}

fn of(config: &Config, endpoint: &Endpoint<'_>, fields: &[(&'static str, &str)]) -> Result<(), Refusal> {
    check(endpoint, &head(fields), config, tcp())
}

#[test]
fn only_the_token_lets_in() {
    let config = guarded();
    for endpoint in [Endpoint::Reload, Endpoint::Stats, Endpoint::Status, Endpoint::ReopenLogs, drain()] {
        assert_eq!(of(&config, &endpoint, &[]), Err(Refusal::NoToken));
        for value in [format!("Bearer {TOKEN}"), format!("bearer  {TOKEN}"), basic("", TOKEN), basic("me", TOKEN)] {
            assert_eq!(of(&config, &endpoint, &[("authorization", &value)]), Ok(()), "{value}");
        }
        for value in [
            format!("Bearer {TOKEN}x"),
            format!("Bearer x{TOKEN}"),
            format!("Bearer {}", &TOKEN[1..]),
            "Bearer wrong".to_owned(),
            basic(TOKEN, ""),
            basic(TOKEN, "x"),
        ] {
            assert_eq!(of(&config, &endpoint, &[("authorization", &value)]), Err(Refusal::WrongToken), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", TOKEN, "Basic", "Basic !!!", "Basic dDp0Og=", "Digest x"] {
            assert!(of(&config, &endpoint, &[("authorization", value)]).is_err(), "{value}");
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn scrapers_and_probes_need_none() {
    let config = guarded();
    for endpoint in [Endpoint::Metrics, Endpoint::Probe(Probe::Ready), Endpoint::Summary] {
        assert_eq!(of(&config, &endpoint, &[("host", "gate.example.com:8404")]), Ok(()));
    }
    assert_eq!(of(&config, &Endpoint::Actuator, &[]), Err(Refusal::NoToken), "its components do");
}

#[test]
fn an_empty_token_is_none_and_never_matches() {
    let config = config(", token: \"\"");
    assert_eq!(of(&config, &Endpoint::Reload, &[]), Ok(()));
    assert_eq!(of(&config, &Endpoint::Reload, &[("authorization", "Bearer ")]), Ok(()));
}

#[test]
fn a_page_from_elsewhere_changes_nothing_even_with_the_token() {
    let bearer = format!("Bearer {TOKEN}");
    for config in [guarded(), config("")] {
        let ask = |name, value| {
            let fields = [("authorization", bearer.as_str()), ("host", "127.0.0.1:8404"), (name, value)];
            of(&config, &drain(), &fields)
        };
        for site in ["cross-site", "same-site", "", "nonsense"] {
            assert_eq!(ask("sec-fetch-site", site), Err(Refusal::Origin), "{site}");
        }
        for origin in ["null", "https://evil.example", "http://127.0.0.1:8405", "http://127.0.0.1", "127.0.0.1:8404"] {
            assert_eq!(ask("origin", origin), Err(Refusal::Origin), "{origin}");
        }
        for (name, value) in
            [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none"), ("origin", "http://127.0.0.1:8404")]
        {
            assert_eq!(ask(name, value), Ok(()), "{name}: {value}");
        }
    }
}

#[test]
fn without_a_token_the_host_must_be_one_that_nobody_else_can_point_here() {
    let config = config("");
    for endpoint in [Endpoint::Status, Endpoint::Metrics, Endpoint::Stats, drain()] {
        for host in ["127.0.0.1", "127.0.0.1:8404", "[::1]:8404", "[::1]", "localhost:8404", "LocalHost", "gate-7:1"] {
            assert_eq!(of(&config, &endpoint, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example:8404", "127.0.0.1.evil.example", "", "localhost.evil.example:1", "[evil]:1", "::1"] {
            assert_eq!(of(&config, &endpoint, &[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(of(&config, &endpoint, &[]), Ok(()), "no browser leaves it out");
        let over_unix = check(&endpoint, &head(&[("host", "any.thing")]), &config, Peer::Unix(Some(0)));
        assert_eq!(over_unix, Ok(()));
    }
}

#[test]
fn a_refusal_says_how_to_get_in_and_not_what_the_token_is() {
    let answer = Refusal::WrongToken.answer();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let schemes: Vec<_> = answer.fields.iter().filter(|(name, _)| name == WWW_AUTHENTICATE).collect();
    assert_eq!(schemes.len(), 2);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "unauthorized");
    assert_eq!(Refusal::Origin.answer().status, StatusCode::FORBIDDEN);
    assert_eq!(Refusal::Host.answer().status, StatusCode::FORBIDDEN);
}
