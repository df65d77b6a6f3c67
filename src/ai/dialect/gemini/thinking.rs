//! `thinkingConfig`: by levels from Gemini 3 on and under names that show no version, by budgets before.

use super::super::Dialect;
use super::super::json::Object;
use super::super::thinking::{ALWAYS_THINKS, Effort, Thinking, version_of};
use super::super::translate::Untranslatable;

/// The member of `thinkingConfig` that says how much; nothing: as the model sees fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HowMuch {
    Budget(i64),
    Level(&'static str),
    AsItLikes,
}

/// Writes `thinkingConfig`. What is thought is asked for too, unless nothing is to be thought. Where an effort becomes a
/// budget, that is at most half of `most`, the bound of tokens, for Gemini counts thinking within it.
///
/// # Errors
///
/// No thinking asked of a model that always thinks.
pub(super) fn write(
    thinking: Thinking,
    most: Option<u64>,
    client: Dialect,
    model: &str,
    config: &mut Object<'_>,
) -> Result<(), Untranslatable> {
    // Flash alone does without; and what is older never thinks, and does not know the word.
    if thinking == Thinking::Unwanted && !(model.contains("2.5") && model.contains("flash")) {
        return Ok(());
    }
    let how_much = how_much(thinking, most, client, model)?;
    config.object("thinkingConfig", |o| {
        match how_much {
            HowMuch::Budget(tokens) => o.number("thinkingBudget", tokens),
            HowMuch::Level(level) => o.text("thinkingLevel", level),
            HowMuch::AsItLikes => {}
        }
        if !matches!(thinking, Thinking::Off | Thinking::Unwanted) {
            o.flag("includeThoughts", true);
        }
    });
    Ok(())
}

fn how_much(thinking: Thinking, most: Option<u64>, client: Dialect, model: &str) -> Result<HowMuch, Untranslatable> {
    let tokens = |tokens: u64| HowMuch::Budget(i64::try_from(tokens).unwrap_or(i64::MAX));
    let effort = match (thinking, is_sealing(model)) {
        (Thinking::Off | Thinking::Unwanted, false) => return Ok(HowMuch::Budget(0)),
        (Thinking::Adaptive, false) => return Ok(HowMuch::Budget(-1)),
        (Thinking::Budget(budget), false) => return Ok(tokens(budget)),
        (Thinking::Effort(effort), false) => {
            return Ok(tokens(effort.budget().min(most.map_or(u64::MAX, |most| most / 2))));
        }
        (Thinking::Off, true) => {
            let field = if client == Dialect::Messages { "thinking" } else { "reasoning_effort" };
            return Err(Untranslatable::at(field, ALWAYS_THINKS.to_owned()));
        }
        (Thinking::Adaptive | Thinking::Unwanted, true) => return Ok(HowMuch::AsItLikes),
        (Thinking::Budget(budget), true) => Effort::of_budget(budget),
        (Thinking::Effort(effort), true) => effort,
    };
    Ok(HowMuch::Level(match effort {
        Effort::Minimal if !model.contains("pro") => "MINIMAL",
        Effort::Minimal | Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::Xhigh | Effort::Max => "HIGH",
    }))
}

/// Whether a model is of Gemini 3 or later: it wants its seals back, and thinks by levels.
pub(super) fn is_sealing(model: &str) -> bool {
    let lower = model.to_ascii_lowercase();
    let Some((_, version)) = lower.split_once("gemini") else { return true };
    version_of(version).is_none_or(|(major, _)| major >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gemini_3_thinks_by_levels_and_2_5_by_budgets() {
        for old in ["gemini-2.5-flash", "models/gemini-2.5-pro", "gemini-1.5-flash-002"] {
            assert!(!is_sealing(old), "{old}");
        }
        for new in ["gemini-3-pro-preview", "gemini-3.1-flash", "gemini-flash-latest"] {
            assert!(is_sealing(new), "{new}");
        }
        let of = |thinking, model| how_much(thinking, Some(20_000), Dialect::Chat, model);
        assert_eq!(of(Thinking::Effort(Effort::Medium), "gemini-2.5-flash"), Ok(HowMuch::Budget(8192)));
        assert_eq!(of(Thinking::Effort(Effort::Minimal), "gemini-3-flash"), Ok(HowMuch::Level("MINIMAL")));
        assert_eq!(of(Thinking::Effort(Effort::Minimal), "gemini-3-pro"), Ok(HowMuch::Level("LOW")));
        assert_eq!(of(Thinking::Off, "gemini-2.5-flash"), Ok(HowMuch::Budget(0)));
        assert_eq!(of(Thinking::Effort(Effort::High), "gemini-2.5-flash"), Ok(HowMuch::Budget(10_000)));
        assert!(of(Thinking::Off, "gemini-3-pro").is_err());
    }
}
