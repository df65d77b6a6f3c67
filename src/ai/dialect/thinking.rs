//! How much a model is to think, between the words of Chat, the budgets of Messages and those of Gemini.
//!
//! | effort | budget, tokens | Gemini 3's level |
//! |---|---|---|
//! | `none` | no thinking; refused where it cannot be turned off | refused: it cannot be turned off |
//! | `minimal` | 1024 | `MINIMAL`, `LOW` for a Pro model |
//! | `low` | 2048 | `LOW` |
//! | `medium` | 8192 | `MEDIUM` |
//! | `high`, `xhigh`, `max` | 24576 | `HIGH` |
//!
//! Back again, a budget of at most 4096 is `low`, of at most 16384 `medium`, and `high` above. A [`Claude`] that takes no
//! budgets is asked to think adaptively with an effort, and `minimal` is `low` there.

use super::claude::Claude;
use super::translate::Untranslatable;

/// Tokens of an answer where the client names no bound and Messages asks for one; thinking comes on top.
pub(super) const DEFAULT_MAX_TOKENS: u64 = 4096;

/// Tokens below which Messages takes no budget.
const LEAST_BUDGET: u64 = 1024;

/// Why a model is not asked without thinking.
pub(super) const ALWAYS_THINKS: &str = "this model cannot be kept from thinking";

/// How hard the model is to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// What a request says about thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// None at all.
    Off,
    /// None, of a model that can do without. `thinking` `disabled` means no more: clients say so to models that never think, too.
    Unwanted,
    Effort(Effort),
    /// Tokens.
    Budget(u64),
    /// As the model sees fit.
    Adaptive,
}

impl Effort {
    /// The word of Chat and of `output_config.effort`; `None` for another.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::Xhigh,
            "max" => Self::Max,
            _ => return None,
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// The word of `output_config.effort`, which has none for the least.
    const fn of_messages(self) -> &'static str {
        match self {
            Self::Minimal => "low",
            other => other.as_str(),
        }
    }

    pub(super) const fn budget(self) -> u64 {
        match self {
            Self::Minimal => 1024,
            Self::Low => 2048,
            Self::Medium => 8192,
            Self::High | Self::Xhigh | Self::Max => 24576,
        }
    }

    pub(super) const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0..=4096 => Self::Low,
            4097..=16384 => Self::Medium,
            _ => Self::High,
        }
    }
}

// === Chat ===

impl Thinking {
    /// What a word of `reasoning_effort` says; `None`: nothing that is known.
    pub(super) fn of_effort(word: &str) -> Option<Self> {
        if word == "none" { Some(Self::Off) } else { Effort::parse(word).map(Self::Effort) }
    }

    /// `reasoning_effort`; `None` where the model is left to itself.
    pub(super) fn effort(self, model: &str) -> Option<&'static str> {
        match self {
            Self::Off => Some("none"),
            Self::Unwanted => least_effort(model),
            Self::Effort(effort) => Some(effort.as_str()),
            Self::Budget(tokens) => Some(Effort::of_budget(tokens).as_str()),
            Self::Adaptive => None,
        }
    }
}

/// The word with which a model of OpenAI's thinks least: they think unless they are told not to, and others do not know it.
fn least_effort(model: &str) -> Option<&'static str> {
    let name = model.strip_prefix("gpt-")?;
    let is_other = ["chat", "codex", "pro", "search"].iter().any(|line| name.contains(line));
    match version_of(name)? {
        _ if is_other => None,
        (5, 0) => Some("minimal"),
        version if version > (5, 0) => Some("none"),
        _ => None,
    }
}

// === Messages ===

/// `thinking` of Messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThinkingConfig {
    Enabled { budget_tokens: u64 },
    Adaptive,
    Disabled,
}

/// What Messages is told: a bound of tokens always, for it asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ForMessages {
    pub(super) max_tokens: u64,
    pub(super) thinking: Option<ThinkingConfig>,
    pub(super) effort: Option<&'static str>,
}

impl ForMessages {
    /// Of a budget, at most half of `max_tokens` is used, for Chat counts thinking within its bound; the default bound
    /// comes on top of it.
    ///
    /// # Errors
    ///
    /// A bound of the client's that leaves no room for the least budget; no thinking, of a model that always thinks.
    pub(super) fn new(
        thinking: Option<Thinking>,
        max_tokens: Option<u64>,
        claude: Claude,
    ) -> Result<Self, Untranslatable> {
        let plain = Self { max_tokens: max_tokens.unwrap_or(DEFAULT_MAX_TOKENS), thinking: None, effort: None };
        let effort = match thinking {
            None => return Ok(plain),
            Some(Thinking::Off) if claude.always_thinks => {
                return Err(Untranslatable::at("reasoning_effort", ALWAYS_THINKS.to_owned()));
            }
            Some(Thinking::Unwanted) if claude.always_thinks => return Ok(plain),
            Some(Thinking::Off | Thinking::Unwanted) => {
                return Ok(Self { thinking: Some(ThinkingConfig::Disabled), ..plain });
            }
            Some(Thinking::Adaptive) => return Ok(Self { thinking: Some(ThinkingConfig::Adaptive), ..plain }),
            Some(Thinking::Budget(tokens)) => Effort::of_budget(tokens),
            Some(Thinking::Effort(effort)) => effort,
        };
        if !claude.budget {
            let max_tokens = max_tokens.unwrap_or_else(|| DEFAULT_MAX_TOKENS + effort.budget());
            let effort = Some(effort.of_messages());
            return Ok(Self { max_tokens, thinking: Some(ThinkingConfig::Adaptive), effort });
        }
        let (budget, max_tokens) = match max_tokens {
            None => (effort.budget(), DEFAULT_MAX_TOKENS + effort.budget()),
            Some(most) if most > LEAST_BUDGET => (effort.budget().min(most / 2).max(LEAST_BUDGET), most),
            Some(most) => {
                return Err(Untranslatable::at(
                    "reasoning_effort",
                    format!("this model thinks in at least {LEAST_BUDGET} tokens, and max_completion_tokens is {most}"),
                ));
            }
        };
        Ok(Self { max_tokens, thinking: Some(ThinkingConfig::Enabled { budget_tokens: budget }), effort: None })
    }

    /// The same without thinking, for a request that goes together with none. Said where thinking was asked for, for
    /// some models think unless they are told not to. An effort stays where it can be told; with no thinking, none above
    /// `high` is taken.
    pub(super) fn without_thinking(thinking: Option<Thinking>, max_tokens: Option<u64>, claude: Claude) -> Self {
        let effort = match thinking {
            _ if claude.budget => None,
            Some(Thinking::Effort(Effort::Xhigh | Effort::Max)) => Some(Effort::High),
            Some(Thinking::Effort(effort)) => Some(effort),
            _ => None,
        };
        Self {
            max_tokens: max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            thinking: thinking.map(|_| ThinkingConfig::Disabled),
            effort: effort.map(Effort::of_messages),
        }
    }

    /// Whether the model may think.
    pub(super) const fn thinks(&self) -> bool {
        matches!(self.thinking, Some(ThinkingConfig::Enabled { .. } | ThinkingConfig::Adaptive))
    }
}

/// The first number of a name, and the one after it, if it is short: a date is no version.
pub(super) fn version_of(name: &str) -> Option<(u32, u32)> {
    let short = |word: &str| word.parse::<u32>().ok().filter(|number| *number < 100);
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric()).skip_while(|word| short(word).is_none());
    let major = words.next().and_then(short)?;
    Some((major, words.next().and_then(short).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_leaves_half_of_the_bound_for_the_answer() {
        let of = |max| ForMessages::new(Some(Thinking::Effort(Effort::High)), max, Claude::of("claude-opus-4-5"));
        let budget = |max| match of(max).unwrap() {
            ForMessages { thinking: Some(ThinkingConfig::Enabled { budget_tokens }), max_tokens, .. } => {
                (budget_tokens, max_tokens)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(budget(None), (24576, 28672));
        assert_eq!(budget(Some(8000)), (4000, 8000));
        assert_eq!(budget(Some(1500)), (1024, 1500));
        assert!(of(Some(1024)).unwrap_err().message.contains("max_completion_tokens is 1024"));
    }

    #[test]
    fn who_wants_no_thinking_says_so_to_models_that_know_the_word() {
        for (model, effort) in [
            ("gpt-5.1", Some("none")),
            ("gpt-5.6-terra", Some("none")),
            ("gpt-6", Some("none")),
            ("gpt-5-mini-2025-08-07", Some("minimal")),
            ("gpt-5-chat-latest", None),
            ("gpt-5.2-pro", None),
            ("gpt-5.1-codex", None),
            ("gpt-4o", None),
            ("gpt-4.1-mini", None),
            ("gpt-oss-120b", None),
            ("o3", None),
            ("qwen3", None),
        ] {
            assert_eq!(Thinking::Unwanted.effort(model), effort, "{model}");
            assert_eq!(Thinking::Off.effort(model), Some("none"), "{model}");
        }
    }

    #[test]
    fn every_effort_comes_back_as_itself_or_its_neighbour() {
        for (effort, back) in [(Effort::Low, "low"), (Effort::Medium, "medium"), (Effort::High, "high")] {
            assert_eq!(Thinking::Budget(effort.budget()).effort("m"), Some(back));
        }
    }
}
