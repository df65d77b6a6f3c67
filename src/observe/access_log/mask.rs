//! Secrets in a query string are not for the log (T31).

use crate::observe::escape::Escape;

/// Names of parameters whose values are secrets, in lower case, without `-` and `_`.
const SECRETS: [&[u8]; 24] = [
    b"key",
    b"apikey",
    b"xapikey",
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
const LONGEST: usize = 17;

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
            _ => escape.put(buf, parameter),
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

/// Whether a parameter's name, percent escapes undone, is one of [`SECRETS`].
fn is_secret(name: &[u8]) -> bool {
    let mut plain = [0; LONGEST];
    let mut length = 0;
    for byte in percent_encoding::percent_decode(name).filter(|byte| !matches!(byte, b'-' | b'_')) {
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
        for name in ["token", "access_token", "password", "secret", "signature", "X-Amz-Signature", "API-KEY"] {
            assert_eq!(masked(&format!("a=1&{name}=hunter2")), format!("a=1&{name}=***"));
        }
    }

    #[test]
    fn a_disguised_name_is_still_a_secret() {
        assert_eq!(masked("%6bey=s"), "%6bey=***");
        assert_eq!(masked("a=1;token=s"), "a=1;token=***");
        assert_eq!(masked("token=a=b=c"), "token=***");
    }

    #[test]
    fn everything_else_is_left_as_it_is() {
        for text in ["", "&", "a", "key", "monkey=1", "keys=1", "a=key", "&&=&a==b&", "a_very_long_parameter_name=1"] {
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
