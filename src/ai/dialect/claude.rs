//! What a model of Claude takes, by its name. Anthropic refuses the rest with 400.
//!
//! | | budgets | `temperature` with `top_p` | either of them, `top_k` | no thinking | a tool that must be called |
//! |---|---|---|---|---|---|
//! | up to 4 | yes | yes | yes | yes | yes |
//! | 4.1 to 4.5 | yes | no | yes | yes | yes |
//! | 4.6 | no | no | yes | yes | yes |
//! | 4.7 to 5 | no | no | no | yes | yes |
//! | Fable and Mythos to 5.0 | no | no | no | no | yes |
//! | Opus and Sonnet from 5.5, Fable and Mythos from 5.1 | no | no | no | no | no |
//!
//! A name of Claude's that shows no version is taken for a new one. What is not Claude, behind a server that speaks Messages,
//! takes everything.

use super::thinking::version_of;

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claude {
    /// Thinking is measured in tokens, and not by an effort.
    pub(super) budget: bool,
    pub(super) sampling: Sampling,
    /// It thinks whatever it is told.
    pub(super) always_thinks: bool,
    /// It can be made to call a tool.
    pub(super) can_be_forced: bool,
}

/// How the choice of tokens may be narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sampling {
    /// By temperature and `top_p` at once.
    Both,
    /// By one of them.
    Either,
    /// Not at all.
    None,
}

impl Claude {
    pub(super) fn of(model: &str) -> Self {
        let lower = model.to_ascii_lowercase();
        let Some((_, name)) = lower.split_once("claude") else {
            return Self { budget: true, sampling: Sampling::Both, always_thinks: false, can_be_forced: true };
        };
        let version = version_of(name);
        let before = |than| version.is_some_and(|version| version < than);
        let since = |than| version.is_some_and(|version| version >= than);
        let of_line = |lines: [&str; 2]| lines.iter().any(|line| name.contains(line));
        let is_fable = of_line(["fable", "mythos"]);
        let can_be_forced = !(is_fable && since((5, 1)) || of_line(["opus", "sonnet"]) && since((5, 5)));
        let sampling = match version {
            Some(version) if version < (4, 1) => Sampling::Both,
            Some(version) if version < (4, 7) => Sampling::Either,
            _ => Sampling::None,
        };
        Self { budget: before((4, 6)), sampling, always_thinks: is_fable || !can_be_forced, can_be_forced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_is_told_a_budget_up_to_4_5_and_an_effort_after() {
        for old in [
            "claude-3-7-sonnet-20250219",
            "claude-sonnet-4-20250514",
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "claude-opus-4.5",
            "claude-haiku-4-5",
            "qwen3",
        ] {
            assert!(Claude::of(old).budget, "{old}");
        }
        for new in ["claude-opus-4-6", "claude-sonnet-4.6", "claude-opus-5", "claude-mythos-preview"] {
            assert!(!Claude::of(new).budget, "{new}");
        }
    }

    #[test]
    fn the_choice_of_tokens_is_narrowed_less_with_each_model() {
        for (sampling, models) in [
            (Sampling::Both, ["claude-3-5-haiku-20241022", "claude-opus-4-20250514", "qwen3"]),
            (Sampling::Either, ["claude-opus-4-1-20250805", "claude-haiku-4-5", "claude-sonnet-4.6"]),
            (Sampling::None, ["claude-opus-4-7", "claude-sonnet-5", "claude-mythos-preview"]),
        ] {
            for model in models {
                assert_eq!(Claude::of(model).sampling, sampling, "{model}");
            }
        }
    }

    #[test]
    fn some_always_think_and_the_newest_of_them_choose_their_tools_themselves() {
        let of = |model| (Claude::of(model).always_thinks, Claude::of(model).can_be_forced);
        for model in ["claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-haiku-5-5", "qwen3"] {
            assert_eq!(of(model), (false, true), "{model}");
        }
        for model in ["claude-fable-5", "claude-mythos-5", "claude-mythos-preview"] {
            assert_eq!(of(model), (true, true), "{model}");
        }
        for model in ["claude-fable-5-2", "claude-mythos-5-1", "claude-opus-5-5", "claude-sonnet-5-5"] {
            assert_eq!(of(model), (true, false), "{model}");
        }
    }
}
