//! Bills of real answers by the table of the program, each computed by hand.
//!
//! Prices are dollars for a million tokens, so tokens times price are millionths of a dollar.

use super::*;
use crate::ai::dialect::Dialect;
use crate::ai::door::Operation;
use crate::ai::meter::whole;

/// The program's own prices.
fn shipped() -> Prices {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path());
    let pools: Vec<&str> = config.pools.iter().map(|pool| &*pool.name).collect();
    Prices::new(config.ai.as_deref().unwrap(), &pools, &Arc::default())
}

/// What an answer costs, in millionths of a dollar.
fn bill(provider: usize, model: &str, dialect: Dialect, answer: &str) -> u64 {
    let usage = whole(dialect, Operation::Chat, answer.as_bytes()).unwrap().usage.unwrap();
    shipped().cost(provider, model, model, &usage).unwrap()
}

#[test]
fn a_chat_of_which_the_most_was_cached() {
    // gpt-4o: 2.50, cached 1.25, output 10.00.
    // 1006 tokens, 920 of them cached: 86 x 2.50 + 920 x 1.25 = 215 + 1150. 300 x 10.00 = 3000.
    let answer = r#"{ "usage": { "prompt_tokens": 1006, "completion_tokens": 300, "total_tokens": 1306,
        "prompt_tokens_details": { "cached_tokens": 920 } }, "service_tier": "default" }"#;
    assert_eq!(bill(OPENAI, "gpt-4o-2024-08-06", Dialect::Chat, answer), 4_365);
    assert_eq!(bill(AZURE, "gpt-4o", Dialect::Chat, answer), 4_365, "at Azure the same");
}

#[test]
fn a_response_with_reasoning_in_other_tiers_of_service() {
    // gpt-5: 1.25, cached 0.125, output 10.00; flex half, priority twice.
    // 75 x 1.25 = 93.75. 1186 x 10.00 = 11860, the 1024 of reasoning among them. 11953.75, rounded up.
    let answer = |tier: &str| {
        format!(
            r#"{{ "service_tier": "{tier}", "usage": {{ "input_tokens": 75, "output_tokens": 1186, "total_tokens": 1261,
                "input_tokens_details": {{ "cached_tokens": 0 }}, "output_tokens_details": {{ "reasoning_tokens": 1024 }} }} }}"#
        )
    };
    for (tier, cost) in [("default", 11_954), ("flex", 5_977), ("priority", 23_908), ("fast", 23_908)] {
        assert_eq!(bill(OPENAI, "gpt-5-2025-08-07", Dialect::Responses, &answer(tier)), cost, "{tier}");
    }
}

#[test]
fn a_long_prompt_that_writes_a_cache() {
    // gpt-6.2-astra above 272000 tokens: 16.00, cached 0.80, written 20.00, output 60.00.
    // 300000 tokens, 200000 read and 50000 written: 50000 x 16.00 = 800000, 200000 x 0.80 = 160000, 50000 x 20.00 = 1000000.
    // 2000 x 60.00 = 120000.
    let answer = r#"{ "usage": { "prompt_tokens": 300000, "completion_tokens": 2000, "total_tokens": 302000,
        "prompt_tokens_details": { "cached_tokens": 200000, "cache_write_tokens": 50000 } } }"#;
    assert_eq!(bill(OPENAI, "gpt-6.2-astra", Dialect::Chat, answer), 2_080_000);
}

#[test]
fn a_message_that_writes_to_the_cache_for_five_minutes_and_for_an_hour() {
    // claude-sonnet-4-6: 3.00, cached 0.30, written 3.75 for five minutes and 6.00 for an hour, output 15.00.
    // 2048 x 3.00 = 6144, 1800 x 0.30 = 540, 148 x 3.75 = 555, 100 x 6.00 = 600, 503 x 15.00 = 7545.
    let answer = r#"{ "usage": { "input_tokens": 2048, "cache_read_input_tokens": 1800, "cache_creation_input_tokens": 248,
        "cache_creation": { "ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100 },
        "output_tokens": 503, "service_tier": "standard" } }"#;
    assert_eq!(bill(ANTHROPIC, "claude-sonnet-4-6", Dialect::Messages, answer), 15_384);
    // Without the split all of it is five minutes: 248 x 3.75 = 930.
    let unsplit = answer.replace("cache_creation\"", "other\"");
    assert_eq!(bill(ANTHROPIC, "claude-sonnet-4-6", Dialect::Messages, &unsplit), 6_144 + 540 + 930 + 7_545);
}

#[test]
fn a_fast_message_costs_twice_and_one_of_bought_capacity_once() {
    // claude-opus-5-5: 4.00, output 20.00. 1000 x 4.00 + 100 x 20.00 = 6000.
    let answer = |more: &str| format!(r#"{{ "usage": {{ "input_tokens": 1000, "output_tokens": 100, {more} }} }}"#);
    for (more, cost) in
        [(r#""speed": "standard""#, 6_000), (r#""speed": "fast""#, 12_000), (r#""service_tier": "priority""#, 6_000)]
    {
        assert_eq!(bill(ANTHROPIC, "claude-opus-5-5", Dialect::Messages, &answer(more)), cost, "{more}");
    }
}

#[test]
fn a_message_just_above_the_line_for_long_prompts_costs_more_for_all_of_it() {
    // claude-haiku-5-5: 0.10 and 0.50; above 100000 tokens, those of the cache counted, 0.50, cached 0.05, output 2.50.
    let answer = |read: u64| {
        let usage = format!(r#""input_tokens": 1, "cache_read_input_tokens": {read}, "output_tokens": 100"#);
        bill(ANTHROPIC, "claude-haiku-5-5", Dialect::Messages, &format!("{{ \"usage\": {{ {usage} }} }}"))
    };
    // 1 x 0.10 + 99999 x 0.01 + 100 x 0.50 = 0.1 + 999.99 + 50 = 1050.09, rounded up.
    assert_eq!(answer(99_999), 1_051);
    // 1 x 0.50 + 100000 x 0.05 + 100 x 2.50 = 0.5 + 5000 + 250 = 5250.5, rounded up.
    assert_eq!(answer(100_000), 5_251);
}

#[test]
fn sound_that_is_heard_and_spoken() {
    // gpt-audio: 2.50 and 10.00, of sound 32.00 and 64.00.
    // 77 x 2.50 + 43 x 32.00 = 192.5 + 1376. 30 x 10.00 + 110 x 64.00 = 300 + 7040. 8908.5, rounded up.
    let answer = r#"{ "usage": { "prompt_tokens": 120, "completion_tokens": 140, "total_tokens": 260,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 43 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 110 } } }"#;
    assert_eq!(bill(OPENAI, "gpt-audio-2025-08-28", Dialect::Chat, answer), 8_909);
}

#[test]
fn a_transcript() {
    // gpt-4o-mini-transcribe: 1.25, also of sound, and 5.00. 254 x 1.25 + 50 x 5.00 = 317.5 + 250, rounded up.
    let answer = r#"{ "text": "hello", "usage": { "type": "tokens", "input_tokens": 254,
        "input_token_details": { "text_tokens": 4, "audio_tokens": 250 }, "output_tokens": 50, "total_tokens": 304 } }"#;
    assert_eq!(bill(OPENAI, "gpt-4o-mini-transcribe", Dialect::Other, answer), 568);
}

#[test]
fn a_picture_drawn_after_another_one() {
    // gpt-image-2: 5.00 for text and 8.00 for pictures, 30.00 for what it draws.
    // 50 x 5.00 + 323 x 8.00 + 4160 x 30.00 = 250 + 2584 + 124800.
    let answer = r#"{ "created": 1, "usage": { "input_tokens": 373, "output_tokens": 4160, "total_tokens": 4533,
        "input_tokens_details": { "text_tokens": 50, "image_tokens": 323 } } }"#;
    assert_eq!(bill(OPENAI, "gpt-image-2-2026-04-21", Dialect::Other, answer), 127_634);
}

#[test]
fn embeddings_cost_their_input_alone_and_moderation_nothing() {
    // text-embedding-3-small: 0.02. 8 x 0.02 = 0.16, rounded up.
    let answer = r#"{ "usage": { "prompt_tokens": 8, "total_tokens": 8 } }"#;
    assert_eq!(bill(OPENAI, "text-embedding-3-small", Dialect::Other, answer), 1);
    assert_eq!(bill(OPENAI, "omni-moderation-latest", Dialect::Other, answer), 0);
}

#[test]
fn an_answer_of_gemini_to_sound_of_which_a_part_was_cached() {
    // gemini-2.5-flash: 0.30, cached 0.03, sound 1.00, output 2.50, thoughts like output.
    // 1000 tokens, 640 of them sound; 400 cached, 150 of these sound. So 490 x 1.00, 400 x 0.03, 110 x 0.30.
    // (20 + 80) x 2.50 = 250. 490 + 12 + 33 + 250.
    let answer = r#"{ "usageMetadata": { "promptTokenCount": 1000, "cachedContentTokenCount": 400,
        "candidatesTokenCount": 20, "thoughtsTokenCount": 80, "totalTokenCount": 1100,
        "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": 360 }, { "modality": "AUDIO", "tokenCount": 640 }],
        "cacheTokensDetails": [{ "modality": "AUDIO", "tokenCount": 150 }, { "modality": "TEXT", "tokenCount": 250 }],
        "candidatesTokensDetails": [{ "modality": "TEXT", "tokenCount": 20 }] } }"#;
    assert_eq!(bill(GEMINI, "models/gemini-2.5-flash", Dialect::Gemini, answer), 785);
    // Flex: half, but what was cached is no cheaper: (490 + 33 + 250) / 2 + 12 = 398.5, rounded up.
    let flex = answer.replace("\"totalTokenCount\"", "\"trafficType\": \"ON_DEMAND_FLEX\", \"totalTokenCount\"");
    assert_eq!(bill(GEMINI, "gemini-2.5-flash", Dialect::Gemini, &flex), 399);
}

#[test]
fn a_picture_of_gemini_with_words_beside_it() {
    // gemini-3.1-flash-image: 0.50, output 3.00, pictures 60.00. 20 x 0.50 + 30 x 3.00 + 1290 x 60.00 = 10 + 90 + 77400.
    let answer = r#"{ "usageMetadata": { "promptTokenCount": 20, "candidatesTokenCount": 1320, "totalTokenCount": 1340,
        "candidatesTokensDetails": [{ "modality": "IMAGE", "tokenCount": 1290 }] } }"#;
    assert_eq!(bill(GEMINI, "gemini-3.1-flash-image", Dialect::Gemini, answer), 77_500);
}
