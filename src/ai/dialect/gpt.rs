//! What a model of OpenAI takes, by its name. OpenAI refuses the rest with 400.
//!
//! | | `reasoning_effort` | `temperature`, `top_p`, `stop` |
//! |---|---|---|
//! | `gpt-3.5`, `gpt-4`, `chatgpt-`, `gpt-5-chat` | no | yes |
//! | `gpt-5` and later, `o1` and later | yes | with the effort `none` alone |
//! | `gpt-5.1-chat` and its like | no | no |
//!
//! What is not OpenAI's, behind a server that speaks Chat, takes everything.

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gpt {
    /// It is one of OpenAI's own.
    pub(super) is_openais: bool,
    /// It can be told how hard to think.
    pub(super) effort: bool,
    /// It thinks, and takes what narrows the choice of tokens only where it is told not to.
    pub(super) reasons: bool,
}

impl Gpt {
    pub(super) fn of(model: &str) -> Self {
        let is_o = matches!(model.as_bytes(), [b'o', b'0'..=b'9', ..]);
        let gpt = model.strip_prefix("gpt-").filter(|name| !name.starts_with("oss"));
        if !is_o && gpt.is_none() && !model.starts_with("chatgpt-") {
            return Self { is_openais: false, effort: true, reasons: false };
        }
        let reasons = is_o || gpt.is_some_and(is_reasoning);
        Self { is_openais: true, effort: reasons && !model.contains("-chat"), reasons }
    }
}

/// By what comes after `gpt-`. Azure writes 3.5 as 35.
fn is_reasoning(name: &str) -> bool {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let major = name.get(..digits).and_then(|digits| digits.parse::<u32>().ok());
    major.is_some_and(|major| (5..10).contains(&major)) && !name.starts_with("5-chat")
}
