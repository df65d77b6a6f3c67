//! Secrets in a query string are not for the log (T31).

use crate::observe::escape::Escape;

/// Names of parameters whose values are secrets, in lower case, without all that is no letter or digit.
const SECRETS: [&[u8]; 27] = [
    b"key",
    b"apikey",
    b"xapikey",
    b"xgoogapikey",
    b"subscriptionkey",
    b"ocpapimsubscriptionkey",
    b"token",
    b"accesstoken",
    b"refreshtoken",
    b"idtoken",
    b"authtoken",
    b"auth",
    b"authorization",
    b"jwt",
    b"password",
    b"passwd",
    b"pwd",
    b"secret",
    b"clientsecret",
    b"signature",
    b"sig",
    b"xamzsignature",
    b"xgoogsignature",
    b"xamzsecuritytoken",
    b"credential",
    b"session",
    b"sessionid",
];
/// The longest of them.
const LONGEST: usize = 22;
/// Bytes in which the name of a secret ends, escapes included, where it stands within the value of another parameter.
const NESTED_MOST: usize = 64;

/// Appends `query`, escaped, with `***` for the value of every parameter that is a secret.
pub(super) fn query(buf: &mut Vec<u8>, escape: Escape, query: &[u8]) {
    let mut rest = query;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| is_separator(*byte));
        let (parameter, after) = rest.split_at(end.unwrap_or(rest.len()));
        match parameter.iter().position(|byte| *byte == b'=') {
            Some(equals) if is_secret(parameter.split_at(equals).0) => {
                escape.put(buf, parameter.split_at(equals + 1).0);
                buf.extend_from_slice(b"***");
            }
            _ => match nested(parameter) {
                Some(value) => {
                    escape.put(buf, parameter.split_at(value).0);
                    buf.extend_from_slice(b"***");
                }
                None => escape.put(buf, parameter),
            },
        }
        let (separator, next) = after.split_at(after.len().min(1));
        escape.put(buf, separator);
        rest = next;
    }
}

/// Appends a URL, escaped, with the secrets of its query and fragment masked.
pub(super) fn url(buf: &mut Vec<u8>, escape: Escape, url: &[u8]) {
    let query_at = url.iter().position(|byte| matches!(byte, b'?' | b'#')).map_or(url.len(), |mark| mark + 1);
    let (base, rest) = url.split_at(query_at);
    escape.put(buf, base);
    query(buf, escape, rest);
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'&' | b';' | b'?' | b'#')
}

/// Where the value of a secret begins in a parameter whose value is a URL or a form with percent escapes of its own, as in
/// `next=%2Fa%3Ftoken%3D...`.
fn nested(parameter: &[u8]) -> Option<usize> {
    let separators = parameter.windows(3).enumerate().filter(|(_, three)| is_escaped(three, is_separator));
    separators.map(|(at, _)| at + 3).find_map(|begin| {
        let rest = parameter.get(begin..)?;
        let rest = rest.get(..NESTED_MOST).unwrap_or(rest);
        let plain = rest.iter().position(|byte| *byte == b'=').map(|at| (at, 1));
        let escaped = rest.windows(3).position(|three| is_escaped(three, |byte| byte == b'=')).map(|at| (at, 3));
        let (equals, length) = plain.into_iter().chain(escaped).min()?;
        is_secret(rest.get(..equals)?).then_some(begin + equals + length)
    })
}

/// Whether these three bytes are the percent escape of such a byte.
fn is_escaped(three: &[u8], of: impl Fn(u8) -> bool) -> bool {
    three.starts_with(b"%") && percent_encoding::percent_decode(three).next().is_some_and(of)
}

/// Whether a parameter's name, percent escapes undone, is one of [`SECRETS`].
fn is_secret(name: &[u8]) -> bool {
    let mut plain = [0; LONGEST];
    let mut length = 0;
    for byte in percent_encoding::percent_decode(name).filter(u8::is_ascii_alphanumeric) {
        let Some(slot) = plain.get_mut(length) else {
            return false;
        };
        *slot = byte.to_ascii_lowercase();
        length += 1;
    }
    plain.get(..length).is_some_and(|plain| SECRETS.contains(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut buf = Vec::new();
        query(&mut buf, Escape::Json, text.as_bytes());
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn values_of_secret_parameters_are_masked() {
        assert_eq!(masked("key=sk-1&model=m&api_key=2"), "key=***&model=m&api_key=***");
        let services = ["subscription-key", "Ocp-Apim-Subscription-Key", "x-goog-api-key"];
        let names = ["token", "access_token", "password", "secret", "signature", "X-Amz-Signature", "API-KEY"];
        for name in names.into_iter().chain(services) {
            assert_eq!(masked(&format!("a=1&{name}=hunter2")), format!("a=1&{name}=***"));
        }
    }

    #[test]
    fn a_disguised_name_is_still_a_secret() {
        assert_eq!(masked("%6bey=s"), "%6bey=***");
        assert_eq!(masked("a=1;token=s"), "a=1;token=***");
        assert_eq!(masked("token=a=b=c"), "token=***");
        for name in ["%61pi_key", "KEY", "api.key", "api%20key", "+token", "password[]", "%5Bsecret%5D"] {
            assert_eq!(masked(&format!("{name}=s&a=1")), format!("{name}=***&a=1"));
        }
    }

    #[test]
    fn a_secret_within_an_escaped_url_is_masked() {
        assert_eq!(masked("next=%2Fa%3Fb%3D1%26token%3Ds%26c%3D2&d=3"), "next=%2Fa%3Fb%3D1%26token%3D***&d=3");
        assert_eq!(masked("next=%2fa%3ftoken=s&d=3"), "next=%2fa%3ftoken=***&d=3");
        assert_eq!(masked("next=https%3A%2F%2Fa%23access_token%3Ds"), "next=https%3A%2F%2Fa%23access_token%3D***");
        // What is hidden is hidden whole.
        assert_eq!(masked("password=a%26b%3Dc"), "password=***");
    }

    #[test]
    fn everything_else_is_left_as_it_is() {
        for text in [
            "",
            "&",
            "a",
            "key",
            "monkey=1",
            "keys=1",
            "a=key",
            "&&=&a==b&",
            "a_very_long_parameter_name=1",
            "a=%26b%3D1%",
            "%26=%3",
            "next=%3Fmonkey%3D1",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn a_url_is_masked_in_query_and_fragment() {
        let mut buf = Vec::new();
        url(&mut buf, Escape::Nginx, b"https://a/token=x?page=1&token=s#access_token=t");
        assert_eq!(buf, b"https://a/token=x?page=1&token=***#access_token=***");
    }

    #[test]
    fn the_longest_name_fits() {
        assert_eq!(SECRETS.iter().map(|name| name.len()).max(), Some(LONGEST));
    }
}
