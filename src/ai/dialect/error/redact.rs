//! Words of a provider, made safe to show: bounded, in one line, without keys, addresses and accounts.

/// How long what is shown may be, in characters.
const MOST: usize = 500;

/// How keys and accounts begin.
const SECRETS: [&str; 13] =
    ["sk-", "sk_", "pk-", "rk-", "key-", "gsk_", "xai-", "hf_", "AIza", "ya29.", "eyJ", "org-", "proj_"];

/// What stands in the place of what is taken out.
const REDACTED: &str = "[redacted]";

/// The message as it may be shown; `None`: nothing is left of it.
pub(super) fn redact(message: &str) -> Option<String> {
    let mut out = String::with_capacity(message.len().min(MOST * 4));
    let mut bearer = false;
    for word in message.split(|char: char| char.is_whitespace() || char.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        let is_token = std::mem::replace(&mut bearer, word.ends_with("Bearer"));
        if is_token || is_secret(word) {
            out.push_str(REDACTED);
        } else {
            out.push_str(word);
        }
        if out.len() > MOST * 4 {
            break;
        }
    }
    if let Some((end, _)) = out.char_indices().nth(MOST) {
        out.truncate(end);
        out.push('…');
    }
    (!out.is_empty()).then_some(out)
}

fn is_secret(word: &str) -> bool {
    // From each place where a word may begin within a word: `(sk-...`, `key=sk-...`, `"sk-..."`.
    let inner = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '*');
    let is_key = |part: &str| {
        let named = part.len() >= 8 && SECRETS.iter().any(|secret| part.starts_with(secret));
        named || part.contains("***") || part.split(|char: char| !char.is_ascii_alphanumeric()).any(is_random)
    };
    word.contains("://") || word.split(|char| !inner(char)).any(is_key)
}

/// No word of a language is as long and as mixed.
fn is_random(run: &str) -> bool {
    run.len() >= 32 && run.contains(|char: char| char.is_ascii_digit())
}
