//! A provider's own error body, passed on to a client of the same dialect.
//!
//! It stays as it is, byte for byte, so that the client's SDK reads what it knows; but for the texts and members that name
//! a key or an account of ours.

use std::ops::Range;

use bytes::Bytes;

use super::redact::{REDACTED, cleaned};
use crate::ai::json::{Fault, Kind, Reader};

/// Members that name an account, whatever their value.
const ACCOUNTS: [&[u8]; 10] = [
    b"organization",
    b"organization_id",
    b"org_id",
    b"account",
    b"account_id",
    b"project",
    b"project_id",
    b"user_id",
    b"api_key",
    b"consumer",
];

/// The body as a client may read it: the very one, where there is nothing to take out. `None`: it is no JSON.
pub fn passed(body: &Bytes) -> Option<Bytes> {
    let mut found = Found::default();
    let mut reader = Reader::new(body);
    std::str::from_utf8(body).ok()?;
    found.value(&mut reader, false).ok()?;
    reader.end().ok()?;
    if found.changes.is_empty() {
        return Some(body.clone());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut copied = 0;
    for (place, value) in found.changes {
        out.extend_from_slice(body.get(copied..place.start)?);
        out.extend_from_slice(value.as_bytes());
        copied = place.end;
    }
    out.extend_from_slice(body.get(copied..)?);
    Some(out.into())
}

/// What is to be written in the place of what, in order.
#[derive(Default)]
struct Found {
    changes: Vec<(Range<usize>, String)>,
}

impl Found {
    /// Looks at the next value; `named`: it stands where an account does. As deep as a reader goes, and no deeper.
    fn value(&mut self, reader: &mut Reader<'_>, named: bool) -> Result<(), Fault> {
        match reader.kind()? {
            Kind::String => {
                let text = reader.string()?;
                // With its quotes.
                let place = text.span().start.saturating_sub(1)..text.span().end + 1;
                // What is no UTF-8 once its escapes are read is nobody's message.
                let said = text.str();
                let left = said.as_deref().filter(|_| !named).map(cleaned);
                if said.is_none() || left != said {
                    let left = left.unwrap_or_else(|| REDACTED.into());
                    self.changes.push((place, serde_json::Value::from(&*left).to_string()));
                }
            }
            Kind::Number if named => self.changes.push((reader.span()?, "null".to_owned())),
            Kind::Number | Kind::Bool | Kind::Null => reader.skip()?,
            Kind::Array => {
                reader.array()?;
                while reader.element()? {
                    self.value(reader, named)?;
                }
            }
            Kind::Object => {
                reader.object()?;
                while let Some(key) = reader.key()? {
                    let named = ACCOUNTS.iter().any(|account| key.is(account));
                    self.value(reader, named)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &'static str) -> String {
        String::from_utf8(passed(&Bytes::from_static(body.as_bytes())).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn an_error_without_a_secret_is_the_very_one_that_came() {
        for body in [
            "{ \"error\" : {\"message\":\"max_tokens: 100000 > 8192,\\n the key-value store's maximum\",\"param\":null,\"code\":1e2}}",
            r#"{"error":{"message":"See https://platform.openai.com/docs/guides/error-codes for organization-wide limits."}}"#,
            r#"{"error":{"message":"2 organization members, project plan 9, \ud83d\ude00"},"request_id":"req_011CSHoEeqs5C35K2UUqR7Fy"}"#,
        ] {
            assert_eq!(of(body), body);
        }
    }

    #[test]
    fn keys_and_accounts_are_taken_out_and_the_rest_stays() {
        for (body, left) in [
            (
                r#"{"error":{"message":"Incorrect API key provided: sk-...abcd. You can find it.","type":"invalid_request_error"}}"#,
                r#"{"error":{"message":"Incorrect API key provided: [redacted] You can find it.","type":"invalid_request_error"}}"#,
            ),
            (
                r#"{"error":{"message":"Incorrect API key provided: hello-there","param":null}}"#,
                r#"{"error":{"message":"Incorrect API key provided: [redacted]","param":null}}"#,
            ),
            (
                r#"{"error":{"message":"Project  `proj_Ab12Cd34` of org-AbCdEf123456\nmay not"},"organization":"acme","user_id":7}"#,
                r#"{"error":{"message":"Project  [redacted] of [redacted]\nmay not"},"organization":"[redacted]","user_id":null}"#,
            ),
            (
                r#"[{"error":{"details":[{"metadata":{"consumer":"projects/123456789","service":"x.googleapis.com"}}]}}]"#,
                r#"[{"error":{"details":[{"metadata":{"consumer":"[redacted]","service":"x.googleapis.com"}}]}}]"#,
            ),
            (
                r#"{"message":"no quota for organization 123e4567-e89b-12d3-a456-426614174000, project number 123456789012"}"#,
                r#"{"message":"no quota for organization [redacted] project number [redacted]"}"#,
            ),
            (
                r#"{"message":"call http://10.0.0.5:8000/v1 or https://acme-eu.openai.azure.com/openai failed"}"#,
                r#"{"message":"call [redacted] or [redacted] failed"}"#,
            ),
        ] {
            assert_eq!(of(body), left);
        }
    }

    #[test]
    fn what_is_no_json_is_not_passed() {
        for body in ["<html>", "{\"error\":", "{} {}", ""] {
            assert_eq!(passed(&Bytes::from_static(body.as_bytes())), None, "{body}");
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert_eq!(passed(&Bytes::from(deep)), None);
    }
}
