use super::*;
use crate::ai::dialect::error::Class;
use crate::ai::door::Operation;
use crate::ai::sse::{Decoder, MAX_EVENT};
use Dialect::{Chat, Completions, Gemini, Messages, Other, Responses};

/// The kinds of all frames of a stream, and the meter behind it.
fn watch(dialect: Dialect, stream: &str) -> (Vec<Kind>, Meter) {
    let mut decoder = Decoder::new(MAX_EVENT);
    decoder.push(stream.as_bytes().to_vec().into());
    let mut meter = Meter::new(dialect);
    let mut kinds = Vec::new();
    while let Some(frame) = decoder.next() {
        kinds.push(meter.frame(&frame.unwrap()));
    }
    kinds.extend(decoder.finish().map(|rest| meter.frame(&rest)));
    (kinds, meter)
}

fn data(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// The kind of a single event.
fn kind(dialect: Dialect, event: &str) -> Kind {
    watch(dialect, &data(&[event])).0.remove(0)
}

fn class(kind: &Kind) -> Option<Class> {
    match kind {
        Kind::Error(error) => Some(error.class),
        _ => None,
    }
}

#[test]
fn a_chat_stream_is_understood() {
    let (kinds, meter) = watch(
        Chat,
        &data(&[
            r#"{"id":"c","object":"chat.completion.chunk","model":"gpt-4o-2024","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","model":"gpt-4o-2024","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"c","model":"other","choices":[{"index":0,"delta":{"content":" 世界"},"finish_reason":null}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":2}}}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(kinds, [Kind::Startup, Kind::Content, Kind::Content, Kind::Other, Kind::Usage, Kind::Terminal]);
    let usage = Usage { input: 10, cache_read: 4, cache_write: 0, output: 5, reasoning: 2, ..Usage::default() };
    assert_eq!((meter.usage(), meter.model(), meter.finish()), (Some(usage), Some("gpt-4o-2024"), Some("stop")));
    assert_eq!((meter.output_chars(), meter.is_terminal(), meter.is_finished()), (10, true, true));
}

#[test]
fn every_way_to_say_something_in_chat_is_content() {
    let delta = |delta: &str| kind(Chat, &format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#));
    for content in [
        r#"{"content":" "}"#,
        r#"{"content":null,"refusal":"no"}"#,
        r#"{"role":"assistant","reasoning_content":"hm"}"#,
        r#"{"reasoning":"hm"}"#,
        r#"{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}"#,
        r#"{"function_call":{"name":"f","arguments":""}}"#,
        r#"{"audio":{"id":"a","data":"AAAA"}}"#,
        r#"{"images":[{"image_url":{"url":"data:x"}}]}"#,
    ] {
        assert_eq!(delta(content), Kind::Content, "{content}");
    }
    for nothing in [
        "{}",
        "null",
        r#"{"role":"assistant"}"#,
        r#"{"role":"assistant","content":""}"#,
        r#"{"content":null,"tool_calls":null}"#,
        r#"{"content":"","tool_calls":[],"function_call":null,"audio":null,"refusal":"","annotations":[]}"#,
    ] {
        assert_eq!(delta(nothing), Kind::Startup, "{nothing}");
    }
}

#[test]
fn what_comes_before_chat_content_is_startup() {
    let filter = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false}}}]}"#;
    assert_eq!(kind(Chat, filter), Kind::Startup);
    assert_eq!(watch(Chat, ": OPENROUTER PROCESSING\n\n").0, [Kind::Startup]);
    assert_eq!(watch(Chat, "data:\n\nevent: x\n\n\n").0, [Kind::Startup, Kind::Startup, Kind::Startup]);
    assert_eq!(kind(Chat, r#"{"choices":[],"usage":null}"#), Kind::Startup);
    assert_eq!(watch(Chat, &data(&[filter])).1.model(), None);
}

#[test]
fn completions_are_understood() {
    let (kinds, meter) = watch(
        Completions,
        &data(&[
            r#"{"choices":[{"text":"","index":0,"finish_reason":null}]}"#,
            r#"{"choices":[{"text":"abc","index":0,"logprobs":null,"finish_reason":null}],"model":"m"}"#,
            r#"{"choices":[{"text":"d","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(kinds, [Kind::Startup, Kind::Content, Kind::Content, Kind::Terminal]);
    assert_eq!((meter.output_chars(), meter.finish(), meter.usage().unwrap().total()), (4, Some("length"), 2));
}

#[test]
fn errors_inside_a_stream_are_understood() {
    for (dialect, event, expected) in [
        (Chat, r#"{"error":{"message":"x","type":"server_error","param":null,"code":null}}"#, Class::Server),
        (
            Chat,
            r#"{"id":"x","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"error"}],"error":{"code":503,"message":"x"}}"#,
            Class::Overloaded,
        ),
        (Chat, r#"{"error":"it broke"}"#, Class::Unknown),
        (Chat, r#"{"success":false,"message":"x","errorCode":"500","timestamp":"2024-01-01 00:00:00"}"#, Class::Server),
        (Chat, r#"{"error":{"code":"insufficient_quota","message":"x"}}"#, Class::QuotaExhausted),
        (Messages, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Class::Overloaded),
        (
            Responses,
            r#"{"type":"error","code":"rate_limit_exceeded","message":"x","param":null,"sequence_number":1}"#,
            Class::RateLimited,
        ),
        (
            Responses,
            r#"{"type":"error","error":{"type":"insufficient_quota","code":"insufficient_quota","message":"x"},"sequence_number":2}"#,
            Class::QuotaExhausted,
        ),
        (
            Responses,
            r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"server_error","message":"x"}}}"#,
            Class::Server,
        ),
        (Gemini, r#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}"#, Class::RateLimited),
    ] {
        assert_eq!(class(&kind(dialect, event)), Some(expected), "{event}");
    }
    assert_eq!(watch(Messages, "event: error\ndata: {}\n\n").0.first().and_then(class), Some(Class::Unknown));
    for fine in [r#"{"error":null,"choices":[]}"#, r#"{"success":true}"#, r#"{"error":"","choices":[]}"#] {
        assert_eq!(kind(Chat, fine), Kind::Startup, "{fine}");
    }
}

#[test]
fn a_messages_stream_is_understood() {
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\",{data}}}\n\n");
    let stream = [
        event(
            "message_start",
            r#""message":{"id":"m","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":7,"cache_read_input_tokens":3,"output_tokens":1}}"#,
        ),
        event("content_block_start", r#""index":0,"content_block":{"type":"thinking","thinking":"","signature":""}"#),
        event("ping", r#""x":0"#),
        event("content_block_delta", r#""index":0,"delta":{"type":"thinking_delta","thinking":"hmmm"}"#),
        event(
            "content_block_delta",
            r#""index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk"}"#,
        ),
        event("content_block_stop", r#""index":0"#),
        event("content_block_start", r#""index":1,"content_block":{"type":"text","text":""}"#),
        event("content_block_delta", r#""index":1,"delta":{"type":"text_delta","text":"Hello"}"#),
        event(
            "content_block_start",
            r#""index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}"#,
        ),
        event("content_block_delta", r#""index":2,"delta":{"type":"input_json_delta","partial_json":""}"#),
        event("content_block_delta", r#""index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}"#),
        event(
            "message_delta",
            r#""delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":15}"#,
        ),
        event("message_stop", r#""x":0"#),
    ];
    let (kinds, meter) = watch(Messages, &stream.concat());
    use Kind::{Content, Startup, Terminal};
    assert_eq!(kinds[..4], [Startup, Startup, Startup, Content]);
    assert_eq!(kinds[4..9], [Content, Kind::Other, Startup, Content, Content]);
    assert_eq!(kinds[9..], [Startup, Content, Kind::Other, Terminal]);
    let counted = Usage { input: 35, cache_read: 3, cache_write: 7, output: 15, ..Usage::default() };
    let usage = Usage { cache_time_unsaid: true, ..counted };
    assert_eq!((meter.usage(), meter.model(), meter.finish()), (Some(usage), Some("claude"), Some("tool_use")));
    assert_eq!((meter.output_chars(), meter.is_terminal()), (4 + 5 + 7 + 7, true));
}

#[test]
fn usage_of_a_messages_stream_is_cumulative() {
    let (_, meter) = watch(
        Messages,
        &data(&[
            r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"output_tokens":4}}}"#,
            r#"{"type":"message_delta","usage":{"output_tokens":20,"input_tokens":0}}"#,
            r#"{"type":"message_delta","usage":{"output_tokens":30,"input_tokens":12,"cache_read_input_tokens":5}}"#,
        ]),
    );
    assert_eq!(meter.usage(), Some(Usage { input: 17, cache_read: 5, output: 30, ..Usage::default() }));
}

#[test]
fn a_stream_tells_the_tier_of_service_wherever_it_stands() {
    let tier = |dialect, events: &[&str]| watch(dialect, &data(events)).1.usage().and_then(|usage| usage.tier);
    let counted = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1},"service_tier":null}"#;
    let said = r#"{"choices":[{"index":0,"delta":{"content":"x"}}],"service_tier":"flex"}"#;
    assert_eq!(tier(Chat, &[said, counted]), Some(ServiceTier::Flex), "before the usage");
    assert_eq!(tier(Chat, &[counted, said]), Some(ServiceTier::Flex), "or after it");
    assert_eq!(tier(Chat, &[counted]), None);
    let asked = r#"{"type":"response.created","response":{"service_tier":"auto"}}"#;
    let served = r#"{"type":"response.completed","response":{"service_tier":"priority","usage":{"input_tokens":1}}}"#;
    assert_eq!(tier(Responses, &[asked, served]), Some(ServiceTier::Priority));
    let start =
        r#"{"type":"message_start","message":{"usage":{"input_tokens":1,"speed":"fast","service_tier":"standard"}}}"#;
    let end = r#"{"type":"message_delta","usage":{"output_tokens":2}}"#;
    assert_eq!(tier(Messages, &[start, end]), Some(ServiceTier::Priority));
    let gemini = r#"{"usageMetadata":{"promptTokenCount":1,"trafficType":"ON_DEMAND"}}"#;
    assert_eq!(tier(Gemini, &[gemini]), Some(ServiceTier::Standard));
}

#[test]
fn what_a_messages_stream_writes_for_an_hour_is_told_apart() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_creation_input_tokens":7,
        "cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":1}}}"#
        .replace('\n', "");
    let end = r#"{"type":"message_delta","usage":{"output_tokens":20,"cache_creation_input_tokens":7,"cache_creation":null}}"#;
    let (_, meter) = watch(Messages, &data(&[&start, end]));
    let usage = Usage { input: 17, cache_write: 7, cache_write_1h: 4, output: 20, ..Usage::default() };
    assert_eq!(meter.usage(), Some(usage));
}

#[test]
fn a_responses_stream_is_understood() {
    let events = [
        (
            r#"{"type":"response.created","response":{"id":"r","model":"gpt-4o","status":"in_progress","error":null,"usage":null}}"#,
            Kind::Startup,
        ),
        (r#"{"type":"response.in_progress","response":{"id":"r"}}"#, Kind::Startup),
        (r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#, Kind::Startup),
        (r#"{"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#, Kind::Startup),
        (r#"{"type":"response.web_search_call.searching","item_id":"x"}"#, Kind::Startup),
        (r#"{"type":"response.output_text.delta","delta":"Hello","logprobs":[]}"#, Kind::Content),
        (r#"{"delta":"{}","type":"response.function_call_arguments.delta"}"#, Kind::Content),
        (r#"{"type":"response.reasoning_summary_text.delta","delta":"hm"}"#, Kind::Content),
        (r#"{"type":"response.audio.delta","delta":"AAAAAAAAAAAAAAAA"}"#, Kind::Content),
        (r#"{"type":"response.output_text.delta","delta":""}"#, Kind::Startup),
        (r#"{"type":"response.output_text.done","text":"Hello"}"#, Kind::Content),
        (r#"{"type":"response.something.else"}"#, Kind::Other),
        (
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":2},"output_tokens":6,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":15}}}"#,
            Kind::Terminal,
        ),
    ];
    let (texts, expected): (Vec<_>, Vec<_>) = events.into_iter().unzip();
    let (kinds, meter) = watch(Responses, &data(&texts));
    assert_eq!(kinds, expected);
    assert_eq!(
        meter.usage(),
        Some(Usage { input: 9, cache_read: 2, cache_write: 0, output: 6, reasoning: 4, ..Usage::default() })
    );
    assert_eq!((meter.model(), meter.finish()), (Some("gpt-4o"), Some("max_output_tokens")));
    assert_eq!((meter.output_chars(), meter.is_finished()), (9, true));
    let completed = r#"{"type":"response.completed","response":{"status":"completed","incomplete_details":null}}"#;
    assert_eq!(watch(Responses, &data(&[completed])).1.finish(), Some("completed"));
}

#[test]
fn a_gemini_stream_is_understood() {
    let (kinds, meter) = watch(
        Gemini,
        &data(&[
            r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}],"modelVersion":"gemini-2.5"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}],"role":"model"}}],"usageMetadata":{"promptTokenCount":8,"totalTokenCount":20,"thoughtsTokenCount":12,"promptTokensDetails":[{"modality":"TEXT","tokenCount":8}]}}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1}}}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":8,"cachedContentTokenCount":3,"toolUsePromptTokenCount":2,"candidatesTokenCount":5,"thoughtsTokenCount":12,"totalTokenCount":27}}"#,
        ]),
    );
    assert_eq!(kinds, [Kind::Startup, Kind::Content, Kind::Content]);
    assert_eq!(
        meter.usage(),
        Some(Usage { input: 10, cache_read: 3, cache_write: 0, output: 17, reasoning: 12, ..Usage::default() })
    );
    assert_eq!((meter.model(), meter.finish()), (Some("gemini-2.5"), Some("STOP")));
    assert_eq!((meter.is_terminal(), meter.is_finished()), (false, true));
    let (kinds, meter) = watch(
        Gemini,
        &data(&[r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}}"#]),
    );
    assert_eq!((kinds, meter.finish(), meter.is_finished()), (vec![Kind::Other], Some("SAFETY"), true));
}

#[test]
fn an_answer_is_finished_when_each_choice_is() {
    let choice = |index: u32, reason: &str| {
        format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{reason}}}]}}"#)
    };
    let finished =
        |events: &[String]| watch(Chat, &data(&events.iter().map(String::as_str).collect::<Vec<_>>())).1.is_finished();
    assert!(!finished(&[]));
    assert!(!finished(&[choice(0, "null")]));
    assert!(!finished(&[choice(0, "null"), choice(1, "null"), choice(0, "\"stop\"")]));
    assert!(finished(&[choice(0, "null"), choice(1, "null"), choice(0, "\"stop\""), choice(1, "\"stop\"")]));
    assert!(!finished(&[choice(0, "\"\"")]));
}

#[test]
fn what_broke_off_is_told_apart() {
    assert_eq!(watch(Chat, "data: {\"choices\":[{\"index\":0,\"delta\":{\"con").0, [Kind::Unreadable]);
    assert_eq!(watch(Chat, "data: [DONE]\n").0, [Kind::Terminal]);
    for dialect in [Chat, Completions, Responses, Messages, Gemini, Other] {
        for text in ["ping", "[]", "1", "{", "{\"choices\":[}", &"[".repeat(100_000)] {
            assert_eq!(kind(dialect, text), Kind::Unreadable, "{dialect:?} {text:.20}");
        }
    }
}

#[test]
fn usage_is_found_where_others_put_it() {
    let usage = |event: &str| watch(Chat, &data(&[event])).1.usage().map(|usage| (usage.input, usage.output));
    for event in [
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":4}}]}"#,
        r#"{"choices":[],"x_groq":{"id":"r","usage":{"queue_time":0.1,"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
    ] {
        assert_eq!(usage(event), Some((3, 4)), "{event}");
    }
    // Some count thinking in the total alone.
    assert_eq!(
        usage(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":17}}"#),
        Some((3, 14))
    );
    // Or leave one of the numbers to be reckoned.
    assert_eq!(usage(r#"{"choices":[],"usage":{"completion_tokens":4,"total_tokens":17}}"#), Some((13, 4)));
    assert_eq!(usage(r#"{"choices":[],"usage":{}}"#), None);
    assert_eq!(kind(Chat, r#"{"choices":[],"usage":{}}"#), Kind::Startup);
    let deepseek = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":1}}"#;
    assert_eq!(watch(Chat, &data(&[deepseek])).1.usage().unwrap().cache_read, 8);
}

#[test]
fn parts_of_usage_are_never_more_than_the_whole() {
    let event = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":99,"cache_write_tokens":99},"completion_tokens_details":{"reasoning_tokens":99}}}"#;
    let usage = watch(Chat, &data(&[event])).1.usage();
    assert_eq!(
        usage,
        Some(Usage { input: 5, cache_read: 5, cache_write: 0, output: 1, reasoning: 1, ..Usage::default() })
    );
}

#[test]
fn streams_of_images_and_sound_are_understood() {
    let (kinds, meter) = watch(
        Other,
        &data(&[
            r#"{"type":"image_generation.partial_image","b64_json":"AAAA","partial_image_index":0}"#,
            r#"{"type":"image_generation.completed","b64_json":"AAAA","usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#,
        ]),
    );
    assert_eq!(kinds, [Kind::Content, Kind::Terminal]);
    assert_eq!(meter.usage(), Some(Usage { input: 50, image_input: 40, output: 50, ..Usage::default() }));
    let text =
        data(&[r#"{"type":"transcript.text.delta","delta":"abc"}"#, r#"{"type":"transcript.text.done","text":"abc"}"#]);
    assert_eq!(watch(Other, &text).0, [Kind::Content, Kind::Terminal]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn whole_answers_tell_their_usage() {
    for (dialect, body, usage, model, finish, chars) in [
        (
            Chat,
            r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"abcd","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#,
            Some((1, 2)),
            Some("m"),
            Some("stop"),
            7,
        ),
        (
            Messages,
            r#"{"type":"message","model":"m","content":[{"type":"text","text":"abcd"},{"type":"tool_use","id":"t","name":"f","input":{"a":1}}],"stop_reason":"end_turn","usage":{"input_tokens":1,"cache_read_input_tokens":10,"output_tokens":2}}"#,
            Some((11, 2)),
            Some("m"),
            Some("end_turn"),
            12,
        ),
        (
            Responses,
            r#"{"model":"m","status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"abcd"}]}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}"#,
            Some((1, 2)),
            Some("m"),
            Some("completed"),
            4,
        ),
        (
            Gemini,
            r#"{"candidates":[{"content":{"parts":[{"text":"abcd"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2},"modelVersion":"m"}"#,
            Some((1, 2)),
            Some("m"),
            Some("STOP"),
            4,
        ),
        (
            Other,
            r#"{"object":"list","data":[{"embedding":[0.1,-0.2],"index":0}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            Some((8, 0)),
            Some("m"),
            None,
            0,
        ),
        (
            Other,
            r#"{"id":"r","results":[{"index":0,"score":0.9}],"model":"m","usage":{"total_tokens":9}}"#,
            Some((9, 0)),
            Some("m"),
            None,
            0,
        ),
        (
            Other,
            r#"{"results":[],"meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":5}}}"#,
            Some((5, 0)),
            None,
            None,
            0,
        ),
        (
            Other,
            r#"{"created":1,"data":[{"b64_json":"AAAA"}],"usage":{"input_tokens":50,"output_tokens":60,"total_tokens":110}}"#,
            Some((50, 60)),
            None,
            None,
            0,
        ),
        (Other, r#"{"text":"hi","usage":{"type":"duration","seconds":3}}"#, Some((30, 0)), None, None, 2),
    ] {
        let whole = whole(dialect, Operation::ImageGeneration, body.as_bytes()).unwrap();
        assert_eq!(whole.usage.map(|usage| (usage.input, usage.output)), usage, "{body}");
        assert_eq!((whole.model.as_deref(), whole.finish.as_deref(), whole.error), (model, finish, None), "{body}");
        assert_eq!(whole.made.chars, chars, "{body}");
    }
}

#[test]
fn errors_with_a_status_of_success_are_errors() {
    for (body, class) in [
        (r#"{"success":false,"message":"x","errorCode":"500"}"#, Class::Server),
        (r#"{"error":{"message":"x","type":"rate_limit_error"}}"#, Class::RateLimited),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#, Class::Overloaded),
        (r#"{"error":"model not found"}"#, Class::Unknown),
    ] {
        for dialect in [Chat, Messages, Other] {
            assert_eq!(
                whole(dialect, Operation::Chat, body.as_bytes()).unwrap().error.map(|error| error.class),
                Some(class),
                "{body}"
            );
        }
    }
    let said = br#"{"choices":[{"message":{"content":"{\"error\":1}"},"error":null}],"error":null}"#;
    assert_eq!(whole(Chat, Operation::Chat, said).unwrap().error, None);
}

#[test]
fn what_has_nothing_of_an_answer_is_none_at_doors_whose_answers_are_known() {
    use Operation::{CountTokens, Embeddings, Messages as MessagesDoor, Moderations, Rerank};
    let answers = |dialect, operation, body: &str| {
        let whole = whole(dialect, operation, body.as_bytes()).unwrap();
        whole.answers && whole.error.is_none()
    };
    let doors = [
        (Chat, Operation::Chat, r#"{"choices":[]}"#),
        (Completions, Operation::Completions, r#"{"choices":[{"text":"a"}]}"#),
        (Messages, MessagesDoor, r#"{"content":[]}"#),
        (Responses, Operation::Responses, r#"{"output":[]}"#),
        (Responses, Operation::Responses, r#"{"status":"in_progress"}"#),
        (Other, Embeddings, r#"{"data":[]}"#),
        (Other, Embeddings, r#"[{"index":0,"embedding":[1]}]"#),
        (Other, Rerank, r#"{"results":[]}"#),
        (Other, Rerank, r#"{"data":[]}"#),
        (Other, Rerank, r#"[{"index":0,"score":1}]"#),
        (Other, CountTokens, r#"{"input_tokens":0}"#),
    ];
    for (dialect, operation, body) in doors {
        assert!(answers(dialect, operation, body), "{operation:?} {body}");
        for none in [
            "{}",
            r#"{"code":50001,"msg":"system busy"}"#,
            r#"{"detail":"x"}"#,
            r#"{"object":"error","message":"x","type":"BadRequestError","code":400}"#,
            r#"{"choices":null,"content":null,"output":null,"status":"error","data":{},"results":"","input_tokens":"7"}"#,
        ] {
            assert!(!answers(dialect, operation, none), "{operation:?} {none}");
        }
    }
    for body in ["{}", "[]", r#"{"flagged":true}"#] {
        assert!(answers(Other, Moderations, body), "{body}");
    }
    for body in ["[]", "null", "\"x\""] {
        assert!(!answers(Chat, Operation::Chat, body), "{body}");
    }
}

#[test]
fn an_error_that_does_not_say_that_it_is_one_is_known_by_its_words() {
    let class = |body: &str| whole(Chat, Operation::Chat, body.as_bytes()).unwrap().error.map(|error| error.class);
    let vllm = r#"{"object":"error","message":"x","type":"BadRequestError","param":null,"code":400}"#;
    assert_eq!(class(vllm), Some(Class::BadRequest));
    assert_eq!(class(r#"{"code":429,"msg":"slow down"}"#), Some(Class::RateLimited));
    assert_eq!(class(r#"{"code":50001,"msg":"system busy"}"#), None);
    assert_eq!(class(r#"{"choices":[],"code":429}"#), None, "an answer");
}

#[test]
fn half_an_answer_is_none() {
    let answer =
        br#"{"id":"x","choices":[{"message":{"content":"a","other":[1,{"b":null}]}}],"usage":{"total_tokens":3}}"#;
    for dialect in [Chat, Messages, Other] {
        assert!(whole(dialect, Operation::Chat, answer).is_some());
        for end in 0..answer.len() {
            assert_eq!(whole(dialect, Operation::Chat, &answer[..end]), None, "{end}");
        }
        for no_json in ["not json", "{} {}", "{\"a\":\u{1}\"\"}", "{\"a\":01}", "[1,]"] {
            assert_eq!(whole(dialect, Operation::Chat, no_json.as_bytes()), None, "{no_json}");
        }
        assert_eq!(whole(dialect, Operation::Chat, b"{\"a\":\"\xff\"}"), None);
    }
}

#[test]
fn what_anthropic_did_besides_an_answer_is_charged_with_it() {
    let usage = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":23000,"output_tokens":1000,
        "cache_read_input_tokens":500,"output_tokens_details":{"thinking_tokens":40},"iterations":[
        {"type":"compaction","input_tokens":180000,"output_tokens":3500,"cache_creation_input_tokens":7},
        {"type":"message","input_tokens":23000,"output_tokens":1000,"cache_read_input_tokens":500}]}}"#;
    let usage = usage.replace('\n', " ");
    // The second event repeats the first: neither counts twice.
    let counted = watch(Messages, &data(&[usage.as_str(), usage.as_str()])).1.usage().unwrap();
    assert_eq!((counted.input, counted.output), (23_000 + 500 + 180_000 + 7, 4_500));
    assert_eq!((counted.cache_read, counted.cache_write, counted.reasoning), (500, 7, 40));
}

#[test]
fn sound_that_is_counted_by_its_length_has_ten_tokens_a_second() {
    let whole =
        whole(Other, Operation::Transcription, br#"{"text":"four","usage":{"type":"duration","seconds":61}}"#).unwrap();
    assert_eq!((whole.usage.unwrap().input, whole.made.chars), (610, 4));
}

#[test]
fn what_other_models_advised_is_told_apart_by_their_names() {
    let advice = |model: &str, input: u64| {
        format!(
            r#"{{"type":"advisor_message","model":"{model}","input_tokens":{input},"output_tokens":50,"cache_read_input_tokens":5}}"#
        )
    };
    let steps = [advice("opus", 1_000), advice("opus", 2_000), advice("", 7), advice("haiku", 100)].join(",");
    let event = format!(
        r#"{{"type":"message_delta","usage":{{"input_tokens":300,"output_tokens":40,"iterations":[{{"type":"message","input_tokens":300,"output_tokens":40}},{steps}]}}}}"#
    );
    let usage = watch(Messages, &data(&[event.as_str(), event.as_str()])).1.usage().unwrap();
    assert_eq!((usage.input, usage.output), (300 + 3_107 + 20, 40 + 200));
    let told: Vec<_> = usage.advice.iter().map(|by| (&*by.model, by.input, by.cache_read, by.output)).collect();
    assert_eq!(told, [("opus", 3_010, 10, 100), ("haiku", 105, 5, 50)]);
    assert_eq!((usage.unadvised().input, usage.unadvised().output), (300 + 12, 40 + 50));

    let many: Vec<_> = (0..20).map(|number| advice(&format!("m{number}"), 10)).collect();
    let event = format!(
        r#"{{"type":"message_delta","usage":{{"input_tokens":300,"output_tokens":40,"iterations":[{}]}}}}"#,
        many.join(",")
    );
    let usage = watch(Messages, &data(&[event.as_str()])).1.usage().unwrap();
    assert_eq!(
        (usage.input, usage.output),
        (300 + 20 * 15, 40 + 20 * 50),
        "none of more than there is room for is lost"
    );
}

#[test]
fn what_was_written_to_the_cache_is_known_by_its_parts_alone() {
    let usage = |of: &str| {
        let event = format!(r#"{{"type":"message_delta","usage":{{"input_tokens":3,"output_tokens":4,{of}}}}}"#);
        watch(Messages, &data(&[event.as_str()])).1.usage().unwrap()
    };
    let parts = usage(r#""cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":20}"#);
    assert_eq!((parts.input, parts.cache_write, parts.cache_write_1h, parts.cache_time_unsaid), (123, 120, 20, false));
    let whole = usage(r#""cache_creation_input_tokens":120"#);
    assert_eq!((whole.input, whole.cache_write, whole.cache_write_1h, whole.cache_time_unsaid), (123, 120, 0, true));
}

#[test]
fn what_was_counted_once_of_an_answer_stays_counted() {
    let counted = |dialect, events: &[&str]| {
        let usage = watch(dialect, &data(events)).1.usage().unwrap();
        (usage.input, usage.output)
    };
    let chat = |of: &str| format!(r#"{{"choices":[],"usage":{{{of}}}}}"#);
    let (first, none) =
        (chat(r#""prompt_tokens":1000,"completion_tokens":700"#), chat(r#""prompt_tokens":0,"completion_tokens":0"#));
    assert_eq!(counted(Chat, &[&first, &none]), (1_000, 700));
    let gemini = |of: &str| format!(r#"{{"candidates":[],"usageMetadata":{{{of}}}}}"#);
    let first = gemini(r#""promptTokenCount":10,"candidatesTokenCount":3000"#);
    assert_eq!(counted(Gemini, &[&first, &gemini(r#""promptTokenCount":10,"totalTokenCount":10"#)]), (10, 3_000));
    let response = |of: &str| format!(r#"{{"type":"response.completed","response":{{"usage":{{{of}}}}}}}"#);
    let first = response(r#""input_tokens":9,"output_tokens":8"#);
    assert_eq!(counted(Responses, &[&first, &response(r#""input_tokens":0,"output_tokens":0"#)]), (9, 8));
}

#[test]
fn what_gemini_counts_in_the_total_alone_is_counted() {
    let usage = |of: &str| {
        let event = format!(r#"{{"candidates":[],"usageMetadata":{{{of}}}}}"#);
        let usage = watch(Gemini, &data(&[event.as_str()])).1.usage().unwrap();
        (usage.input, usage.output)
    };
    assert_eq!(usage(r#""promptTokenCount":10,"candidatesTokenCount":30,"totalTokenCount":940"#), (10, 930));
    assert_eq!(usage(r#""candidatesTokenCount":30,"totalTokenCount":940"#), (910, 30));
    assert_eq!(usage(r#""promptTokenCount":10,"candidatesTokenCount":30,"totalTokenCount":40"#), (10, 30));
}

#[test]
fn only_the_outermost_usage_of_a_whole_answer_counts() {
    let choice = r#"{"index":0,"message":{"content":"a"},"usage":{"prompt_tokens":1,"completion_tokens":90000}}"#;
    for body in [
        format!(r#"{{"usage":{{"prompt_tokens":1000,"completion_tokens":700}},"choices":[{choice}]}}"#),
        format!(r#"{{"choices":[{choice}],"usage":{{"prompt_tokens":1000,"completion_tokens":700}}}}"#),
    ] {
        let usage = whole(Chat, Operation::Chat, body.as_bytes()).unwrap().usage.unwrap();
        assert_eq!((usage.input, usage.output), (1_000, 700), "{body}");
    }
    let body = format!(r#"{{"choices":[{choice}]}}"#);
    assert_eq!(whole(Chat, Operation::Chat, body.as_bytes()).unwrap().usage, None);
}
